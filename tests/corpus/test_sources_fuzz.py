"""Whatever a file, a repository or a message holds: read, counted or refused, and no other error."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import zlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realm.core.errors import ConfigError, CorruptError, DataError, NotFoundError, StorageError
from realm.corpus.agents.hook import hook_entry, transcript_of, write_into
from realm.corpus.agents.townlog import read_daemon_line, read_object, read_town_line
from realm.corpus.code.comments import is_region, prose, spoken
from realm.corpus.code.markdown import blocks
from realm.corpus.files.sidecar import read_sidecar
from realm.corpus.repos.filerules import decode, path_refusal, text_refusal
from realm.corpus.repos.licences import declared, detect
from realm.corpus.rows.detection import describe
from realm.corpus.scrub import Scrubber
from realm.corpus.scrubbing import decoded
from realm.corpus.scrubbing.decisions import Decisions
from realm.corpus.scrubbing.score import score
from realm.corpus.scrubbing.strings import put, walk
from realm.corpus.source import SOURCES
from realm.corpus.tally import Tally
from realm.corpus.texts.encoding import damage
from realm.corpus.texts.formula import read_formula
from realm.corpus.texts.sections import sections

SCRUBBER = Scrubber()
FILES = (
    ("chat_jsonl", "a.jsonl"),
    ("chat_jsonl", "a.json"),
    ("chat_jsonl", "a.csv"),
    ("chat_jsonl", "a.tsv"),
    ("chat_jsonl", "a.parquet"),
    ("conversations", "conversations.json"),
    ("events", ".events.jsonl"),
    ("events", "town.log"),
    ("events", "daemon.log"),
    ("events", "a.event"),
    ("documents", "AGENTS.md"),
    ("documents", "a.formula.toml"),
    ("inbox", "a.jsonl"),
    ("beads", "issues.jsonl"),
    ("claude_code", "0a1b2c3d-1111.jsonl"),
    ("terminal", "pane.log"),
)
PIECES = (
    b'{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"b"}]}\n',
    b'{"prompt":"p","completion":"c"}\n', b'{"text":"t"}', b"prompt,completion\na,b\n", b'"a""b",\n',
    b'{"mapping":{"a":{"id":"a","parent":"b","message":{"author":{"role":"user"},"content":{"parts":["x"]}}}}}',
    b'{"chat_messages":[{"sender":"human","text":"x","created_at":"2026-01-01T00:00:00Z"}],"name":"n"}',
    b'{"ts":"2026-01-01T00:00:00Z","type":"spawn","actor":"a/b","payload":{"bead":"a-1"}}\n',
    b"2025-12-26 15:30:45 [spawn] gastown/crew/max spawned for gt-xyz\n",
    b"2025/12/26 15:30:45 Convoy hq-cv-abc: done\n", b"# head\n\ntext\n",
    b"[[steps]]\nid = 'a'\nneeds = ['a']\n",
    b"formula = 'f'\nversion = 1\n", b"PAR1", b"\x15\x04\x15", b"\x00", b"\xff\xfe", b"\xef\xbb\xbf", b"\r",
    b"\n", b"[", b"]", b"{", b"}", b'"', b"\\", b",", b":", b"[" * 300, b'{"a":' * 300, b"9" * 400,
    b"NaN", b"1e999",
    b"\\ud800", b"\xed\xa0\x80", b"\x1b[2J", b"-" * 300, b"'''", b'"""', b"`" * 9, b"null", b"true",
)  # fmt: skip
BYTES = st.one_of(
    st.lists(st.sampled_from(PIECES), max_size=12).map(b"".join),
    st.lists(st.one_of(st.sampled_from(PIECES), st.binary(max_size=12)), max_size=12).map(b"".join),
    st.binary(max_size=200),
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)


def _documents(kind: str, path: Path, name: str = "path") -> int:
    made = SOURCES.build({"kind": kind, "name": "fuzz", name: str(path)})
    tally, count = Tally(), 0
    for item in list(made.items(tally)):
        with suppress(DataError):
            count += sum(1 for _ in made.read(item, tally))
    return count


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz")


@pytest.mark.parametrize(("kind", "name"), FILES, ids=lambda part: str(part))
def test_any_file_of_any_source(folder: Path, kind: str, name: str) -> None:
    place = folder / kind
    place.mkdir(exist_ok=True)

    @settings(max_examples=60, deadline=None, database=None)
    @given(BYTES, BYTES | st.none())
    def each(content: bytes, beside: bytes | None) -> None:
        for old in place.iterdir():
            old.unlink()
        (place / name).write_bytes(content)
        if beside is not None:
            (place / f"{name}.meta.json").write_bytes(beside)
        _documents(kind, place)

    each()
    shutil.rmtree(place)


@settings(max_examples=200, deadline=None, database=None)
@given(BYTES, st.sampled_from(["a.jsonl", "a.json", "a.csv", "a.parquet", "a.txt"]))
def test_any_file_is_described_or_refused(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, name: str
) -> None:
    file = tmp_path_factory.getbasetemp() / name
    file.write_bytes(content)
    with suppress(DataError):
        describe(file)
    (file.parent / f"{name}.meta.json").write_bytes(content)
    with suppress(DataError):
        read_sidecar(file)


@settings(max_examples=200, deadline=None, database=None)
@given(st.one_of(BYTES, JSON.map(lambda value: json.dumps({"transcript_path": value}).encode())))
def test_any_hook_input(payload: bytes) -> None:
    with suppress(DataError):
        assert transcript_of(payload).is_absolute()


@pytest.mark.parametrize(
    "path", ["~nobody-of-that-name/a.jsonl", "~/a.jsonl", "/a\ud800.jsonl", "//a.jsonl", "/" + "a" * 9999]
)
def test_odd_paths_of_a_hook(path: str) -> None:
    with suppress(DataError):
        assert transcript_of(json.dumps({"transcript_path": path}).encode()).is_absolute()


@settings(max_examples=100, deadline=None, database=None)
@given(st.one_of(BYTES, JSON.map(lambda value: json.dumps({"hooks": {"Stop": value}}).encode())))
def test_any_settings_of_an_agent(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    file = tmp_path_factory.getbasetemp() / "settings.json"
    file.write_bytes(content)
    try:
        written = write_into(file, hook_entry(file.parent))
    except ConfigError:
        assert file.read_bytes() == content
        return
    assert written.changed
    assert not write_into(file, hook_entry(file.parent)).changed


@settings(max_examples=60, deadline=None, database=None)
@given(BYTES, BYTES)
def test_any_file_of_decisions(tmp_path_factory: pytest.TempPathFactory, content: bytes, key: bytes) -> None:
    file = tmp_path_factory.getbasetemp() / "decisions.json"
    file.write_bytes(content)
    file.with_name("decisions.json.key").write_bytes(key)
    with suppress(CorruptError):
        Decisions(file).of(b"value")


@settings(max_examples=300, deadline=None, database=None)
@given(st.text(max_size=120), st.dictionaries(st.text(max_size=6), JSON, max_size=4))
def test_any_line_of_a_town(line: str, row: dict[str, Any]) -> None:
    read_town_line(line)
    read_town_line(f"2025-12-26 15:30:45 [{line}")
    read_daemon_line(f"2025/12/26 15:30:45 Convoy {line}")
    with suppress(DataError):
        read_object({"type": "spawn", "ts": line, **row})


@settings(max_examples=300, deadline=None, database=None)
@given(st.text(max_size=200), BYTES)
def test_any_text_of_a_repository(text: str, content: bytes) -> None:
    path_refusal(text)
    found = decode(content)
    for one in (text, found or ""):
        text_refusal(one, "python")
        detect(one)
        declared(one)
        list(blocks(one))
        prose(one, "python")
        spoken(one)
        is_region(one)
        damage(one)
        sections(one)
        with suppress(DataError):
            read_formula(one)


@settings(max_examples=200, deadline=None, database=None)
@given(JSON)
def test_every_string_of_a_value_is_met_once_and_put_back(value: Any) -> None:
    places = walk(value)
    assert [place.number for place in places] == list(range(len(places)))
    assert repr(put(value, {place.number: place.text for place in places})) == repr(value)


READINGS = st.lists(
    st.sampled_from(
        [b"%41", b"%", b"%4", b"%00", b"\\u0041", b"\\u00", b"\\/", b"&amp;", b"&#64;", b"&#x40;", b"&#9999;",
         b'"', b"'", b" + ", b"\n", b"\r\n", b"\\\n", b"  ", b"abc", b"9zQ", b".", b"&", b"\xff", b"\x00"]
    ),
    max_size=30,
).map(b"".join)  # fmt: skip


@settings(max_examples=300, deadline=None, database=None)
@given(READINGS)
def test_spans_of_every_reading_lead_back_into_the_text(data: bytes) -> None:
    for read in (decoded.joined, decoded.unquoted, decoded.unescaped):
        reading = read(data)
        end = 0
        for at in range(len(reading.data)):
            start, stop = reading.span(at, at + 1)
            assert end <= start <= stop <= len(data)
            assert data[start:stop] == reading.data[at : at + 1] or stop - start != 1
            end = start
        if reading.data:
            assert reading.span(0, len(reading.data))[1] <= len(data)
    list(decoded.base64_blobs(data * 3))


@settings(max_examples=60, deadline=None, database=None)
@given(st.lists(st.one_of(JSON, st.fixed_dictionaries({"text": st.text(), "label": st.text()})), max_size=4))
def test_any_labelled_rows(tmp_path_factory: pytest.TempPathFactory, rows: list[Any]) -> None:
    file = tmp_path_factory.getbasetemp() / "labelled.jsonl"
    file.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    with suppress(DataError):
        assert score(file, SCRUBBER).rows <= len(rows)


SCRUBBED = st.lists(
    st.sampled_from(
        ["<SECRET:password:1>", "<PERSON:email:2>", "<SECRET:", "ann@so.org ", "x" * 9, "%3A",
         "password='aB3$xYz9Q'", "kind: Secret\n", "data:\n a: ", "aGVsbG8=\n"]
    ),
    max_size=30,
).map("".join)  # fmt: skip


@settings(max_examples=150, deadline=None, database=None)
@given(SCRUBBED)
def test_scrubbing_what_was_scrubbed_changes_nothing(text: str) -> None:
    once = SCRUBBER.scrub_text(text).text
    assert SCRUBBER.scrub_text(once).text == once


def _git(folder: Path, *words: str) -> None:
    who = {
        "GIT_AUTHOR_NAME": "a",
        "GIT_AUTHOR_EMAIL": "a@b",
        "GIT_COMMITTER_NAME": "a",
        "GIT_COMMITTER_EMAIL": "a@b",
    }
    subprocess.run(
        ["git", "-C", str(folder), *words],
        check=True, capture_output=True, env={**os.environ, **who, "GIT_CONFIG_GLOBAL": "/dev/null"},
    )  # fmt: skip


def _damages(git: Path) -> Iterator[tuple[Path, bytes]]:
    """Yield each file of a repository with some content that does not belong there."""
    for file in sorted(path for path in git.rglob("*") if path.is_file() and "hooks" not in path.parts):
        content = file.read_bytes()
        yield file, b""
        yield file, content[: len(content) // 2]
        yield file, b"\x00\xff" * 20
        if "objects" in file.parts:
            yield file, zlib.compress(b"blob 99999999999\x00short")
            yield file, zlib.compress(b"tree 30\x00100644 ../../a\x00" + b"\x01" * 20)


def test_any_damage_of_a_git_repository(tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    _git(work, "init", "-q")
    (work / "a.py").write_text("def f():\n    return 1\n")
    _git(work, "add", "-A")
    _git(work, "commit", "-q", "-m", "a")
    assert _documents("repo", work, "location") == 1
    read = 0
    for file, content in list(_damages(work / ".git")):
        before = file.read_bytes()
        file.chmod(0o600)
        file.write_bytes(content)
        try:
            read += _documents("repo", work, "location")
        except (DataError, NotFoundError, StorageError, ConfigError):
            pass
        finally:
            file.write_bytes(before)
    assert _documents("repo", work, "location") == 1
    assert read > 0
