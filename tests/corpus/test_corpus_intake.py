from __future__ import annotations

import hashlib
import json
import os
import socket
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realm.core.errors import CorruptError, DataError, NotFoundError, StorageError
from realm.core.records import Example, Message
from realm.corpus import intake
from realm.corpus.dataset import read_examples, read_info, write_examples
from realm.corpus.intake import Limits, check, normalise

CHAT = {"messages": [{"role": "user", "content": "hi ⓪"}, {"role": "assistant", "content": "ho"}]}
ROW = json.dumps(CHAT).encode()
DEEP = b'{"text": "x", "metadata": ' + b"[" * 70 + b"]" * 70 + b"}"


def _file(folder: Path, content: bytes, name: str = "rows.jsonl") -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def _refused(path: Path, **limits: int) -> DataError:
    with pytest.raises(DataError) as caught:
        check(path, Limits(**limits))
    assert str(caught.value).startswith(path.name)
    return caught.value


@pytest.mark.parametrize(
    "content",
    [
        ROW + b"\n",
        ROW,
        ROW + b"\r\n",
        b"\xef\xbb\xbf" + ROW + b"\n",
        b"\n \t\n" + ROW + b"\n\n",
        b"  " + ROW + b"  \n",
    ],
)
def test_harmless_forms_of_a_file_are_taken(tmp_path: Path, content: bytes) -> None:
    report = check(_file(tmp_path, content))
    assert (report.spec, report.rows, report.messages) == ("chat_sft_v1", 1, 2)
    assert report.bytes == len(content)
    assert report.sha256 == "sha256:" + hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize(
    ("content", "line", "reason"),
    [
        (b"", 1, "empty"),
        (b"\n \r\n\t\n", 1, "only blank lines"),
        (b"\xef\xbb\xbf", 1, "only blank lines"),
        (ROW + b"\nhello\n", 2, "not JSON"),
        (ROW + b"\n\n" + ROW[:-1], 3, "not JSON"),
        (ROW + b"\n" + ROW + ROW, 2, "not JSON"),
        (ROW + b"\n\xef\xbb\xbf" + ROW, 2, "not JSON"),
        (b'{"text": "a\tb"}', 1, "Invalid control character"),
        (b"[\n" + ROW + b"\n]\n", 1, "not JSON"),
        (b"[1, 2]\n", 1, "a list, not an object"),
        (b"null\n", 1, "null, not an object"),
        (b'{"text": "\xff"}', 1, "not UTF-8: byte 11 of the line is 0xff"),
        (b'{"text": "\xed\xa0\x80"}', 1, "not UTF-8"),
        ("{}".encode("utf-16"), 1, "UTF-16"),
        (b'{"text": NaN}', 1, "NaN is not JSON"),
        (b'{"text": "a", "id": -Infinity}', 1, "-Infinity is not JSON"),
        (b'{"text": "a", "id": 1e999}', 1, "too large"),
        (b'{"text": "a", "id": ' + b"1" * 5000 + b"}", 1, "more digits"),
        (b'{"text": "a", "text": "b"}', 1, "'text' occurs twice"),
        (b'{"text": "a", "metadata": {"k": 1, "k": 1}}', 1, "'k' occurs twice"),
        (b'{"text": "\\ud83d"}', 1, "half a character"),
        (b'{"\\udc00": "a"}', 1, "half a character"),
        (DEEP, 1, "nest deeper than 64"),
        (b"[" * 100_000, 1, "nest deeper than 64"),
        (b'{"text": [' + b"[]," * 200_001 + b"[]]}", 1, "more than 200,000 values"),
        (b'{"text": "a"}\n' + ROW, 2, "a chat_sft_v1 row in a file of completion_v1 rows"),
        (ROW + b'\n{"messages": []}\n', 2, "no assistant turn"),
    ],
)
def test_bad_rows_are_refused_with_line_and_reason(
    tmp_path: Path, content: bytes, line: int, reason: str
) -> None:
    error = _refused(_file(tmp_path, content))
    assert (error.file, error.line) == ("rows.jsonl", line)
    assert reason in error.reason


def test_a_whole_pair_of_surrogates_is_a_character(tmp_path: Path) -> None:
    path = _file(tmp_path, b'{"text": "\\ud83d\\ude42"}')
    normalise(path, tmp_path / "out", name="x", source="test")
    assert next(read_examples(tmp_path / "out")).text == "🙂"


def test_a_text_full_of_brackets_and_commas_is_not_deep(tmp_path: Path) -> None:
    text = '[{,\\"' * 100_000
    assert check(_file(tmp_path, json.dumps({"text": text}).encode())).rows == 1


def test_an_open_string_full_of_quotes_is_refused_at_once(tmp_path: Path) -> None:
    error = _refused(_file(tmp_path, b'{"text": "' + b'\\",' * 3_000_000))
    assert "not JSON" in error.reason


@pytest.mark.parametrize(
    ("head", "what"),
    [
        (b"PK\x03\x04", "zip"),
        (b"\x1f\x8b\x08", "gzip"),
        (b"BZh9", "bzip2"),
        (b"\xfd7zXZ\x00", "xz"),
        (b"\x28\xb5\x2f\xfd", "zstd"),
        (b"7z\xbc\xaf\x27\x1c", "7z"),
        (b"Rar!\x1a\x07", "rar"),
        (b"a" * 257 + b"ustar", "tar"),
    ],
)
@pytest.mark.parametrize("name", ["rows.jsonl", "rows.bin"])
def test_archives_are_refused_under_any_name(tmp_path: Path, head: bytes, what: str, name: str) -> None:
    assert f"{what} archive" in _refused(_file(tmp_path, head + b"\x00" * 600, name)).reason


def test_only_regular_jsonl_files_are_taken(tmp_path: Path) -> None:
    good = _file(tmp_path, ROW)
    (tmp_path / "folder.jsonl").mkdir()
    (tmp_path / "link.jsonl").symlink_to(good)
    os.mkfifo(tmp_path / "pipe.jsonl")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket.jsonl"))
        for name, what in [("folder", "folder"), ("link", "symlink"), ("pipe", "pipe"), ("socket", "socket")]:
            assert what in _refused(tmp_path / f"{name}.jsonl").reason
    assert "device" in _refused(Path("/dev/zero")).reason
    assert "not a .jsonl file" in _refused(_file(tmp_path, ROW, "rows.csv")).reason
    with pytest.raises(NotFoundError):
        check(tmp_path / "absent.jsonl")


@pytest.mark.parametrize("name", ["a\nb.jsonl", "a\x1b[31m.jsonl", "a\u202egpj.jsonl", "a\udcff.jsonl"])
def test_a_name_that_could_forge_a_message_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError) as caught:
        check(_file(tmp_path, ROW, name))
    assert "name" in caught.value.reason
    assert not {"\n", "\x1b", "\u202e", "\udcff"} & set(caught.value.file)


def test_text_from_the_file_cannot_forge_a_message(tmp_path: Path) -> None:
    key = "x\n2026 INFO all is well\x1b[2J\u202e" + "y" * 500
    error = _refused(_file(tmp_path, json.dumps({key: 1}).encode()))
    assert not {"\n", "\x1b", "\u202e"} & set(error.reason)
    assert len(error.reason) < 300


def test_bounds_hold(tmp_path: Path) -> None:
    long = _file(tmp_path, ROW + b'\n{"text": "' + b"x" * 20_000_000 + b'"}\n', "long.jsonl")
    assert _refused(long).line == 2
    assert "longer than 16,000,000 bytes" in _refused(long).reason
    exact = _file(tmp_path, ROW + b"\r\n" + ROW, "exact.jsonl")
    assert check(exact, Limits(line_bytes=len(ROW))).rows == 2
    assert "longer" in _refused(exact, line_bytes=len(ROW) - 1).reason
    assert "limit of 10" in _refused(exact, file_bytes=10).reason
    assert _refused(_file(tmp_path, (ROW + b"\n") * 4), max_rows=3).line == 4


def test_a_huge_file_is_refused_unread(tmp_path: Path) -> None:
    path = _file(tmp_path, b"")
    os.truncate(path, 3_000_000_000)
    assert "2,000,000,000" in _refused(path).reason


def test_the_message_tells_how_many_lines_are_bad(tmp_path: Path) -> None:
    path = _file(tmp_path, b"\n".join([b"a", ROW, b"b", b"c"]))
    assert "2 more bad lines: 3, 4" in _refused(path).reason
    assert [problem.line for problem in intake.survey(path).problems] == [1, 3, 4]
    many = _file(tmp_path, b"bad\n" * 1000)
    assert len(intake.survey(many).problems) == 20
    assert "at least 19 more" in _refused(many).reason


def test_exact_duplicates_are_counted_and_kept(tmp_path: Path) -> None:
    path = _file(tmp_path, (ROW + b"\n") * 3 + b'{"messages": ' + ROW[13:])
    assert check(path).duplicates == 3
    assert normalise(path, tmp_path / "out", name="x", source="test").rows == 4
    assert len(list(read_examples(tmp_path / "out"))) == 4


def test_progress_ends_at_the_whole_file(tmp_path: Path) -> None:
    path = _file(tmp_path, (ROW + b"\n") * 100_000)
    seen: list[tuple[int, int]] = []
    check(path, progress=lambda done, total: seen.append((done, total)))
    size = path.stat().st_size
    assert len(seen) > 2
    assert seen == sorted(seen)
    assert seen[-1] == (size, size)


def test_a_file_that_grows_while_it_is_read_is_refused(tmp_path: Path) -> None:
    path = _file(tmp_path, (ROW + b"\n") * 100_000)

    def grow(done: int, total: int) -> None:
        with path.open("ab") as file:
            file.write(ROW + b"\n")

    with pytest.raises(DataError, match="changed while it was read"):
        check(path, progress=grow)


def test_the_same_file_gives_the_same_dataset(tmp_path: Path) -> None:
    path = _file(tmp_path, (ROW + b"\n") * 2 + ROW[:-1] + b', "metadata": {"level": 2}}', "my rows.jsonl")
    for out in ("one", "two"):
        info = normalise(path, tmp_path / out, name="my rows.jsonl", source="inbox:my rows.jsonl")
        os.utime(path, (1, 1))
    for name in ("rows.jsonl", "dataset.json"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    assert read_info(tmp_path / "one") == info
    assert (info.spec, info.rows, info.generator, info.scrub) == ("chat_sft_v1", 3, None, None)
    assert info.source is not None
    assert info.source.sha256 == check(path).sha256
    assert list(read_examples(tmp_path / "one"))[2].tags == {"level": 2}


def test_a_dataset_may_be_dropped_into_the_inbox_again(tmp_path: Path) -> None:
    row = ROW[:-1] + b', "id": 1}'
    normalise(_file(tmp_path, row), tmp_path / "one", name="x", source="test")
    normalise(tmp_path / "one" / "rows.jsonl", tmp_path / "two", name="x", source="test")
    assert (tmp_path / "one/rows.jsonl").read_bytes() == (tmp_path / "two/rows.jsonl").read_bytes()


def test_a_refused_file_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(DataError):
        normalise(_file(tmp_path, ROW + b"\nbad"), tmp_path / "out", name="x", source="test")
    assert list((tmp_path / "out").iterdir()) == []


def test_a_folder_that_cannot_be_written_may_be_tried_again(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file in the way")
    with pytest.raises(StorageError):
        normalise(_file(tmp_path, ROW), tmp_path / "out", name="x", source="test")


def _sidecar(path: Path, **changes: Any) -> None:
    told = {
        "generator_id": "bin",
        "generator_version": "2",
        "generated_at": "2026-11-20T19:03:00Z",
        "example_count": 1,
        "params": {"level": 3},
    }
    path.with_name(path.name + ".meta.json").write_text(json.dumps({**told, **changes}))


def test_a_sidecar_tells_the_generator_but_not_the_time(tmp_path: Path) -> None:
    path = _file(tmp_path, ROW)
    _sidecar(path)
    info = normalise(path, tmp_path / "out", name="x", source="test")
    assert info.generator == {
        "generator_id": "bin",
        "generator_version": "2",
        "example_count": 1,
        "params": {"level": 3},
    }


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"example_count": 2}, "1 rows, but its sidecar counts 2"),
        ({"example_count": -1}, "example_count"),
        ({"seeed": 1}, "unknown key seeed"),
        ({"params": {"x": "y" * 70_000}}, "more than 65,536 bytes"),
    ],
)
def test_a_sidecar_that_does_not_fit_refuses_the_file(
    tmp_path: Path, changes: dict[str, Any], reason: str
) -> None:
    path = _file(tmp_path, ROW)
    _sidecar(path, **changes)
    with pytest.raises(DataError) as caught:
        check(path)
    assert reason in caught.value.reason


def test_generated_examples_are_written_and_read_back(tmp_path: Path) -> None:
    rows = [
        Example(
            messages=(Message(role="user", content=f"add {n}"), Message(role="assistant", content="①")),
            tags={"level": 1, "key": f"add {n}"},
        )
        for n in range(50)
    ]
    info = write_examples(
        rows, tmp_path, name="drills", spec="chat_sft_v1", generator={"generator_id": "bin"}
    )
    assert list(read_examples(tmp_path)) == rows == list(read_examples(tmp_path / "rows.jsonl"))
    assert read_info(tmp_path) == info
    assert info.rows == 50


def test_bad_generated_examples_never_become_a_dataset(tmp_path: Path) -> None:
    good = Example(text="x")
    with pytest.raises(DataError) as caught:
        write_examples([good, Example(text="")], tmp_path, name="d", spec="completion_v1", generator={})
    assert caught.value.line == 2
    with pytest.raises(DataError):
        write_examples([], tmp_path, name="d", spec="completion_v1", generator={})
    with pytest.raises(NotFoundError):
        write_examples([good], tmp_path, name="d", spec="chat", generator={})
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_dataset_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        next(read_examples(tmp_path))
    with pytest.raises(NotFoundError):
        read_info(tmp_path)
    _file(tmp_path, b'{"text":"a"}\n{"text":1}\n')
    with pytest.raises(CorruptError, match=r"rows\.jsonl:2"):
        list(read_examples(tmp_path))
    _file(tmp_path, b"{}", "dataset.json")
    with pytest.raises(CorruptError):
        read_info(tmp_path)


@given(content=st.text(min_size=1).filter(lambda text: not text.isspace()))
def test_every_text_comes_through_unchanged(tmp_path_factory: pytest.TempPathFactory, content: str) -> None:
    folder = tmp_path_factory.mktemp("text")
    path = _file(folder, json.dumps({"text": content}).encode())
    normalise(path, folder / "out", name="x", source="test")
    assert [example.text for example in read_examples(folder / "out")] == [content]
