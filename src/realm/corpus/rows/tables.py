"""Rows of a file from outside: JSON Lines, JSON, CSV and Parquet, streamed and within bounds.

| suffix | rows |
|---|---|
| `.jsonl`, `.ndjson` | one object a line |
| `.json` | the objects of one list, or of the one list of rows in an object; see `json_rows` |
| `.csv`, `.tsv` | one record a row under a header; see `csv_rows` |
| `.parquet` | see `parquet_rows` |

A file may be of any size, since no more than a row (of Parquet: a batch of a row group) is held; a row may
not. Archives are refused under any name, gzip too. A row that cannot be read is counted and passed over;
what leaves no sure place to go on at (a JSON value beyond the bounds, a quote that does not end) refuses
the rest of the file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from realm.core.errors import DataError, StorageError
from realm.core.text import printable
from realm.corpus.files import lines
from realm.corpus.files.objects import read_objects
from realm.corpus.intake import DEFAULT_LIMITS as LIMITS
from realm.corpus.rows import csv_rows, json_rows, parquet_rows
from realm.corpus.tally import Tally

_NESTED = frozenset(
    {"messages", "conversations", "input", "preferred_output", "non_preferred_output", "tools", "functions",
     "history", "metadata", "tags", "context_tags"}
)  # fmt: skip
"""Columns of a CSV whose cells may hold any JSON."""
_TURNS = frozenset({"prompt", "completion", "chosen", "rejected"})
"""Columns of a CSV whose cells may hold a JSON list of turns; otherwise they are text."""
_HEAD_BYTES = 512


class Numbered(NamedTuple):
    """One row and its place."""

    number: int
    """What names it in its file: its line, in JSON and Parquet its place among the rows, from 1."""
    first_line: int | None
    """None in Parquet, which has no lines."""
    last_line: int | None
    row: dict[str, Any]


Reader = Callable[[Path, str, Tally], Iterator[Numbered]]
"""Takes a file, the name it is shown by, and where to count what is left out."""


def read_rows(path: Path, shown: str, tally: Tally) -> Iterator[Numbered]:
    """Yield the rows of a file; `shown` gives its suffix and names it in counts and errors.

    Raises DataError (file, line, reason) for a file that cannot be read, or not to its end.
    """
    shown = printable(shown, 300)
    reader = READERS.get(suffix_of(shown))
    if reader is None:
        raise DataError("not a file of rows", file=shown, hint=f"one of: {', '.join(READERS)}")
    try:
        _refuse_archive(path, shown)
        yield from reader(path, shown, tally)
    except DataError as error:
        raise DataError(error.reason, file=shown, line=error.line, hint=error.hint) from None
    except OSError as error:
        raise StorageError(f"{shown}: reading failed: {error.strerror}") from error


def suffix_of(name: str) -> str:
    """Return a file's suffix as `READERS` writes it."""
    return PurePosixPath(name).suffix.lower()


def _refuse_archive(path: Path, shown: str) -> None:
    with lines.open_regular(path) as file:
        lines.refuse_head(shown, file.read(_HEAD_BYTES))


def _read_lines(path: Path, shown: str, tally: Tally) -> Iterator[Numbered]:
    for number, row in read_objects(path, tally, shown):
        yield Numbered(number, number, number, row)


def _read_json(path: Path, shown: str, tally: Tally) -> Iterator[Numbered]:
    with lines.open_regular(path) as file:
        pieces = json_rows.pieces(file, LIMITS)
        if pieces is None:
            yield from _read_lines(path, shown, tally)
            return
        for number, piece in enumerate(pieces, 1):
            try:
                row = lines.parse(piece.text, LIMITS.json_depth)
            except DataError:
                tally.add("a row that is not one strict JSON object", f"{shown}:{piece.first_line}")
                continue
            yield Numbered(number, piece.first_line, piece.last_line, row)


def _read_csv(path: Path, shown: str, tally: Tally) -> Iterator[Numbered]:
    with lines.open_regular(path) as file:
        for cells in csv_rows.cells(file, LIMITS):
            if cells.row is None:
                tally.add("another number of cells than the header has", f"{shown}:{cells.first_line}")
                continue
            row = {name: _nested(name, cell) for name, cell in cells.row.items()}
            yield Numbered(cells.first_line, cells.first_line, cells.last_line, row)


def _nested(name: str, cell: str) -> Any:
    """Return a cell's value: JSON where its column may hold it and the whole cell is it."""
    if cell[0] not in "[{" or name not in _NESTED | _TURNS:
        return cell
    # A list becomes a value of an object, so that one strict reader serves.
    try:
        found = lines.parse(f'{{"cell":{cell}}}'.encode(), LIMITS.json_depth + 1)
    except (DataError, UnicodeEncodeError):
        return cell
    value = found.get("cell")
    if len(found) != 1 or (name in _TURNS and not _is_turns(value)):
        return cell
    return value


def _is_turns(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(turn, dict) and not {"role", "from"}.isdisjoint(turn) for turn in value
    )


def _read_parquet(path: Path, shown: str, tally: Tally) -> Iterator[Numbered]:
    with lines.open_regular(path) as file:
        left_out, rows = parquet_rows.table(file)
        if left_out:
            tally.add("a column without a JSON form, such as bytes", shown, len(left_out))
        for number, row in enumerate(rows, 1):
            yield Numbered(number, None, None, row)


READERS: dict[str, Reader] = {
    ".jsonl": _read_lines,
    ".ndjson": _read_lines,
    ".json": _read_json,
    ".csv": _read_csv,
    ".tsv": _read_csv,
    ".parquet": _read_parquet,
}
"""By suffix, in lower case."""
