"""Whatever bytes a file holds, it is taken whole or refused with a reason: no crash, no hang."""

from __future__ import annotations

import json
import random
import time
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realm.core.errors import DataError
from realm.core.seeds import rng
from realm.corpus.dataset import read_examples
from realm.corpus.intake import Limits, check, normalise

LIMITS = Limits(file_bytes=20_000, line_bytes=2_000, max_rows=50)
SEEDS = [
    b'{"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "\xe2\x93\xaa \\u24ea"}, '
    b'{"role": "assistant", "content": "a\\n"}], "id": 1}\n',
    b'{"prompt": "p", "completion": "c", "metadata": {"level": 3, "key": "add 1 2"}}\n',
    b'{"prompt": [{"role": "user", "content": "p"}], '
    b'"completion": [{"role": "assistant", "content": "c"}]}\n',
    b'{"text": "once upon \\ud83d\\ude42 a time", "tags": {"primitive": "x"}}\n',
]
PIECES = [
    b"\n", b"\r\n", b"\x00", b"\xff", b"\xef\xbb\xbf", b'"', b"\\", b"{", b"}", b"[", b"]", b",", b":",
    b"null", b"NaN", b"-Infinity", b"1e999", b"true", b"-0", b"\\ud800", b"\\udc00", b"\xed\xa0\x80",
    b'"text": "x", ', b'"messages": [], ', b'"weight": 0, ', b'"role": "tool", ', b"[" * 200, b'{"a":' * 70,
    b"9" * 5000, b"\xe2\x80\xae", b"PK\x03\x04", b"\x1f\x8b", b"x" * 3000, b" " * 3000, b"\x1b[2J",
]  # fmt: skip


def _mutated(draw: random.Random) -> bytes:
    data = bytearray(
        b"".join(draw.choices(SEEDS[:1] if draw.random() < 0.5 else SEEDS, k=draw.randint(1, 4)))
    )
    for _ in range(draw.choice([0, 1, 1, 2, 4, 16])):
        at = draw.randrange(len(data) + 1)
        match draw.randrange(5):
            case 0:
                data[at : at + 1] = bytes([draw.randrange(256)])
            case 1:
                del data[at : at + draw.randint(1, 40)]
            case 2:
                data[at:at] = draw.choice(PIECES)
            case 3:
                del data[at:]
            case 4:
                data[at:at] = data[: draw.randint(1, 60)]
    return bytes(data)


def _content(draw: random.Random) -> bytes:
    kind = draw.random()
    if kind < 0.1:
        return draw.randbytes(draw.randrange(300))
    if kind < 0.2:
        return b"".join(draw.choices(PIECES, k=draw.randrange(12)))
    return _mutated(draw)


def _judge(path: Path, content: bytes) -> bool:
    path.unlink(missing_ok=True)  # truncating in place makes ext4 flush every file: minutes on a busy disk
    path.write_bytes(content)
    refused: DataError | None = None
    try:
        report = check(path, LIMITS)
    except DataError as error:
        refused = error
    if refused is not None:
        assert refused.file == path.name
        assert refused.reason
        assert not [c for c in refused.reason if unicodedata.category(c)[0] == "C"]
        return False
    assert report.rows > 0
    assert report.bytes == len(content)
    return True


def _fuzz(path: Path, purpose: str, files: int) -> None:
    draw = rng("fuzz the intake", purpose)
    taken, slowest_s = 0, 0.0
    for _ in range(files):
        content = _content(draw)
        start = time.thread_time()
        taken += _judge(path, content)
        slowest_s = max(slowest_s, time.thread_time() - start)
    assert slowest_s < 1.0
    assert files * 0.02 < taken < files * 0.9, "the mutations are too wild or too tame to test anything"


def test_twenty_thousand_files_are_taken_or_refused(tmp_path: Path) -> None:
    _fuzz(tmp_path / "f.jsonl", "short", 20_000)


@pytest.mark.slow
def test_a_hundred_thousand_files_are_taken_or_refused(tmp_path: Path) -> None:
    _fuzz(tmp_path / "f.jsonl", "long", 100_000)


def test_what_check_takes_becomes_a_dataset_of_as_many_rows(tmp_path: Path) -> None:
    draw, path, taken = rng("fuzz the intake", "datasets"), tmp_path / "f.jsonl", 0
    for _ in range(1500):
        content = _mutated(draw)
        good = _judge(path, content)
        if good:
            info = normalise(path, tmp_path / "out", name="f", source="test", limits=LIMITS)
            assert len(list(read_examples(tmp_path / "out"))) == info.rows
            taken += 1
        else:
            with pytest.raises(DataError):
                normalise(path, tmp_path / "out", name="f", source="test", limits=LIMITS)
            assert not (tmp_path / "out" / "rows.jsonl").exists()
    assert taken > 100


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
_KEYS = st.sampled_from(["messages", "prompt", "completion", "text", "id", "metadata", "tags", "weight"])
_MESSAGE = st.fixed_dictionaries(
    {"role": st.sampled_from(["system", "user", "assistant", "tool"]) | _JSON, "content": st.text() | _JSON}
)


@settings(max_examples=300, deadline=None)
@given(rows=st.lists(_JSON | st.dictionaries(_KEYS, _JSON | st.lists(_MESSAGE, max_size=4)), max_size=4))
def test_any_json_is_taken_or_refused(tmp_path_factory: pytest.TempPathFactory, rows: list[object]) -> None:
    path = tmp_path_factory.getbasetemp() / "any.jsonl"
    _judge(path, "\n".join(json.dumps(row) for row in rows).encode())
