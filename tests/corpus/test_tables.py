from __future__ import annotations

import gzip
import io
import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realm.core.errors import DataError, NotFoundError
from realm.corpus.intake import Limits
from realm.corpus.rows import json_rows
from realm.corpus.rows.tables import Numbered, read_rows
from realm.corpus.tally import Tally

ROWS = [{"prompt": "a,\n\"b\"", "completion": "ü🙂"}, {"prompt": "c", "completion": "[1, 2]"}]  # fmt: skip


def _read(path: Path) -> tuple[list[Numbered], dict[str, int]]:
    tally = Tally()
    rows = list(read_rows(path, path.name, tally))
    return rows, {reason.reason: reason.count for reason in tally.reasons()}


def _write(path: Path, content: bytes | str) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def test_every_format_gives_the_same_rows(tmp_path: Path) -> None:
    _write(tmp_path / "a.jsonl", "\ufeff" + "\r\n\n".join(map(json.dumps, ROWS)))
    _write(tmp_path / "a.json", json.dumps(ROWS, indent=2))
    _write(tmp_path / "lines.json", "\n".join(map(json.dumps, ROWS)))
    _write(
        tmp_path / "inside.json",
        json.dumps({"version": [1, 2], "n": -1.5, "data": ROWS, "turns": [{"role": 1}]}),
    )
    _write(tmp_path / "a.csv", '\ufeffprompt,completion\r\n"a,\n""b""",ü🙂\r\nc,"[1, 2]"\r\n')
    _write(tmp_path / "a.tsv", 'prompt\tcompletion\n"a,\n""b"""\tü🙂\nc\t[1, 2]\n')
    pq.write_table(pa.Table.from_pylist(ROWS), tmp_path / "a.parquet")
    for path in sorted(tmp_path.iterdir()):
        rows, counted = _read(path)
        assert [row.row for row in rows] == ROWS, path.name
        assert counted == {}


def test_places_are_lines_and_numbers(tmp_path: Path) -> None:
    def places(name: str, content: str) -> list[tuple[int, int | None, int | None]]:
        return [row[:3] for row in _read(_write(tmp_path / name, content))[0]]

    assert places("a.jsonl", '{"a":1}\n\n{"a":2}\n') == [(1, 1, 1), (3, 3, 3)]
    assert places("a.json", '[\n{"a":1}, {"a":2},\n{\n"a":3}\n]') == [(1, 2, 2), (2, 2, 2), (3, 3, 4)]
    assert places("b.json", '\n{"rows":\n[{"a":1},\n{"a":2}]}') == [(1, 3, 3), (2, 4, 4)]
    assert places("a.csv", 'a,b\n"1\n2",3\n\n4,5\n') == [(2, 2, 3), (5, 5, 5)]


def test_rows_that_cannot_be_read_are_counted_and_passed_over(tmp_path: Path) -> None:
    rows, counted = _read(_write(tmp_path / "a.jsonl", b'{"a":1}\n[1]\n{"a":NaN}\n\xff\n{"a":2}\n{"a":'))
    assert [row.row["a"] for row in rows] == [1, 2]
    assert counted == {"a line that is not strict JSON": 3, "a half-written last line": 1}
    rows, counted = _read(_write(tmp_path / "a.json", '[{"a":1}, 5, "x", {"a":1,"a":2}, null, {"a":2}]'))
    assert [row.row["a"] for row in rows] == [1, 2]
    assert counted == {"a row that is not one strict JSON object": 4}
    rows, counted = _read(_write(tmp_path / "a.csv", "a,b\n1,2\n1\n1,2,3\n,4\n"))
    assert [row.row for row in rows] == [{"a": "1", "b": "2"}, {"b": "4"}]
    assert counted == {"another number of cells than the header has": 2}


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.json", "", "neither a JSON list"),
        ("a.json", '"x"', "neither a JSON list"),
        ("a.json", '[{"a":1}', "lacks a comma"),
        ("a.json", '[{"a":1},]', "a value was expected"),
        ("a.json", '[{"a":1} {"a":2}]', "lacks a comma"),
        ("a.json", '[{"a":"x', "ends inside a value"),
        ("a.json", '[{"a":1}] x', "something follows the list"),
        ("a.json", '{"rows": [{"a":1}]', "an object is cut"),
        ("a.json", '{"rows": [{"a":1}], }', "a value was expected"),
        ("a.json", '{"rows": [{"a":1}]} x', "something follows the object"),
        ("a.csv", "", "no header"),
        ("a.csv", "\n\n", "no header"),
        ("a.csv", "a,a\n1,2\n", "repeated name"),
        ("a.csv", "a,\n1,2\n", "repeated name"),
        ("a.csv", 'a,b\n"1,2\n', "not CSV"),
        ("a.csv", 'a,b\n"1"x,2\n', "not CSV"),
        ("a.csv", b"a,b\n\xff,2\n", "not UTF-8"),
        ("a.parquet", b"PAR1 nothing PAR1", "not readable as Parquet"),
        ("a.parquet", b"", "not readable as Parquet"),
        ("a.jsonl", gzip.compress(b"{}", mtime=0), "a gzip archive"),
        ("a.csv", gzip.compress(b"a,b", mtime=0), "a gzip archive"),
        ("a.json", "[]".encode("utf-16"), "UTF-16"),
        ("a.xlsx", b"x", "not a file of rows"),
        ("a.jsonl.gz", b"x", "not a file of rows"),
    ],
)
def test_a_file_without_a_sure_reading_is_refused(
    tmp_path: Path, name: str, content: bytes | str, reason: str
) -> None:
    with pytest.raises(DataError, match=reason) as refused:
        _read(_write(tmp_path / name, content))
    assert refused.value.file == name


def test_no_link_is_followed(tmp_path: Path) -> None:
    _write(tmp_path / "a.jsonl", "{}")
    (tmp_path / "b.jsonl").symlink_to(tmp_path / "a.jsonl")
    with pytest.raises(DataError, match="symlink"):
        _read(tmp_path / "b.jsonl")
    with pytest.raises(NotFoundError):
        _read(tmp_path / "c.jsonl")


def test_json_is_streamed_and_bounded() -> None:
    limits = Limits(line_bytes=2_000)
    big = [{"a": "x" * 1_500, "b": list(range(20))} for _ in range(1_000)]
    for content in (json.dumps(big), json.dumps({"k": {"deep": ["x" * 1000] * 9}, "rows": big})):
        found = json_rows.pieces(io.BytesIO(content.encode()), limits)
        assert found is not None
        assert [json.loads(piece.text) for piece in found] == big
    with pytest.raises(DataError, match="more than 2,000 bytes"):
        list(json_rows.pieces(io.BytesIO(json.dumps([{"a": "x" * 600_000}]).encode()), limits) or ())
    with pytest.raises(DataError, match="more than 2,000 bytes"):
        list(json_rows.pieces(io.BytesIO(json.dumps({"a": ["x" * 600_000]}).encode()), limits) or ())


def test_an_object_of_turns_is_itself_the_row(tmp_path: Path) -> None:
    one = {"messages": [{"role": "user", "content": "q"}], "id": 1}
    assert [row.row for row in _read(_write(tmp_path / "a.json", json.dumps(one, indent=1)))[0]] == [one]
    two = {"a": [{"x": 1}], "b": [{"x": 2}]}
    assert [row.row for row in _read(_write(tmp_path / "b.json", json.dumps(two)))[0]] == [two]


def test_csv_cells_hold_json_only_where_their_column_may(tmp_path: Path) -> None:
    turns = '[{""role"": ""user"", ""content"": ""q""}]'
    content = (
        f'messages,prompt,text,tools\n"{turns}","{turns}","{turns}","[1"\n"{{}}","[1, 2]",x,"[],""a"":1"\n'
    )
    first, second = (row.row for row in _read(_write(tmp_path / "a.csv", content))[0])
    said = [{"role": "user", "content": "q"}]
    assert first == {"messages": said, "prompt": said, "text": json.dumps(said), "tools": "[1"}
    assert second == {"messages": {}, "prompt": "[1, 2]", "text": "x", "tools": '[],"a":1'}


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_the_separator_is_found(tmp_path: Path, separator: str) -> None:
    text = f'a{separator}b\n"x, y; z | w"{separator}2\n' * 1 + f"1{separator}2\n"
    assert [row.row for row in _read(_write(tmp_path / "a.csv", text))[0]] == [
        {"a": "x, y; z | w", "b": "2"},
        {"a": "1", "b": "2"},
    ]


def test_parquet_values_become_plain(tmp_path: Path) -> None:
    from datetime import UTC, datetime

    table = pa.table(
        {
            "messages": pa.array([[{"role": "user", "content": "q", "name": None}], None]),
            "score": [1.5, float("nan")],
            "at": pa.array([datetime(2026, 1, 2, 3, tzinfo=UTC)] * 2, pa.timestamp("us", "UTC")),
            "facts": pa.array([[("k", "v")], []], pa.map_(pa.string(), pa.string())),
            "kind": pa.array(["x", "y"]).dictionary_encode(),
            "image": pa.array([b"\x00", b"\x01"]),
        }
    )
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=1)
    rows, counted = _read(tmp_path / "a.parquet")
    assert [row.row for row in rows] == [
        {
            "messages": [{"role": "user", "content": "q"}],
            "score": 1.5,
            "at": "2026-01-02T03:00:00+00:00",
            "facts": {"k": "v"},
            "kind": "x",
        },
        {"score": None, "at": "2026-01-02T03:00:00+00:00", "facts": {}, "kind": "y"},
    ]
    assert counted == {"a column without a JSON form, such as bytes": 1}


_PIECES = st.sampled_from(
    [b"[", b"]", b"{", b"}", b",", b":", b'"', b"\\", b'"a"', b'"role"', b"1", b"-1e9", b"null", b" ", b"\n",
     b'{"a":1}', b'[{"a":"\\"]"}]', b"\xff", b"\x00", b"\xef\xbb\xbf", b"x" * 700]
)  # fmt: skip
_CONTENT = st.lists(_PIECES, max_size=24).map(b"".join)


@settings(max_examples=400, deadline=None)
@given(content=_CONTENT)
def test_any_json_is_read_as_the_standard_library_reads_it_or_refused(content: bytes) -> None:
    """Where the whole file is valid, every element of its list is yielded, byte for byte the same value."""
    try:
        found = json_rows.pieces(io.BytesIO(content), Limits(line_bytes=5_000))
        pieces = None if found is None else [piece.text for piece in found]
    except DataError:
        pieces = None
    whole: Any = None
    try:
        whole = json.loads(content.decode("utf-8-sig"))
    except ValueError:
        return
    if isinstance(whole, list):
        assert pieces is not None
        assert [json.loads(piece) for piece in pieces] == whole


@settings(max_examples=300, deadline=None)
@given(
    content=_CONTENT | st.binary(max_size=300), suffix=st.sampled_from(["jsonl", "json", "csv", "parquet"])
)
def test_any_bytes_are_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, suffix: str
) -> None:
    path = _write(tmp_path_factory.getbasetemp() / f"fuzz.{suffix}", content)
    with suppress(DataError):
        assert all(isinstance(row.row, dict) for row in _read(path)[0])


@settings(max_examples=150, deadline=None)
@given(at=st.integers(0, 2_000), byte=st.integers(0, 255))
def test_damaged_parquet_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, at: int, byte: int
) -> None:
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(ROWS * 5), buffer)
    content = bytearray(buffer.getvalue())
    content[at % len(content)] = byte
    path = _write(tmp_path_factory.getbasetemp() / "damaged.parquet", bytes(content))
    with suppress(DataError):
        _read(path)
