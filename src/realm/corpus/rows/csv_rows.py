"""Rows of a CSV file: the dialect is found by looking, the header is required.

The separator is the one among comma, semicolon, tab and bar that divides the first lines into the most
cells while giving every line the same number; the quote is `"`, doubled within quotes. Python's own
sniffer is not used: its patterns take time quadratic in hostile text.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from realm.core.text import printable
from realm.corpus.files import lines
from realm.corpus.intake import Limits

if TYPE_CHECKING:
    from _csv import Reader

_SEPARATORS = (",", ";", "\t", "|")
_SAMPLE_LINES = 50
_SAMPLE_CHARS = 65_536
_COLUMNS = 1000


class Cells(NamedTuple):
    """One record under its header; empty cells are left out."""

    row: dict[str, str] | None
    """None where the record has another number of cells than the header."""
    first_line: int
    last_line: int


def cells(file: BinaryIO, limits: Limits) -> Iterator[Cells]:
    """Yield the records below the header.

    Raises DataError with a line (and without a file's name) for a header that is absent or names a
    column twice, for text that is not UTF-8 and for quoting that does not end.
    """
    # The limit is one for the whole process; it is raised, never lowered, so that readers may interleave.
    csv.field_size_limit(max(csv.field_size_limit(), limits.line_bytes))
    separator = _separator(file, limits)
    file.seek(0)
    reader = csv.reader(_text(file, limits), delimiter=separator, strict=True)
    records = _records(reader)
    header = _header(next(records, None))
    for first_line, record in records:
        if not record:
            continue
        fits = len(record) == len(header)
        row = {name: cell for name, cell in zip(header, record, strict=True) if cell} if fits else None
        yield Cells(row, first_line, reader.line_num)


def _text(file: BinaryIO, limits: Limits) -> Iterator[str]:
    for number, raw in lines.read_lines(file, limits.line_bytes):
        line = raw.removeprefix(b"\xef\xbb\xbf") if number == 1 else raw
        try:
            yield line.decode()
        except UnicodeDecodeError:
            raise lines.refusal("not UTF-8", "save it as UTF-8", number) from None


def _records(reader: Reader) -> Iterator[tuple[int, list[str]]]:
    while True:
        first = reader.line_num + 1
        try:
            record = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise lines.refusal(
                f"not CSV: {printable(str(error))}", 'quotes are ", doubled within quotes', first
            ) from None
        yield first, record


def _header(found: tuple[int, list[str]] | None) -> list[str]:
    names = [name.strip() for name in found[1]] if found else []
    if not any(names):
        raise lines.refusal("no header", "the first line names the columns", 1)
    if not all(names) or len(set(names)) != len(names) or len(names) > _COLUMNS:
        raise lines.refusal("the header has an empty or repeated name, or too many", "name every column", 1)
    return names


def _separator(file: BinaryIO, limits: Limits) -> str:
    """Return the separator under which the first lines look most like a table."""
    sample: list[str] = []
    size = 0
    for line in _text(file, limits):
        sample.append(line[: _SAMPLE_CHARS - size])
        size += len(sample[-1])
        if len(sample) >= _SAMPLE_LINES or size >= _SAMPLE_CHARS:
            break
    return max(_SEPARATORS, key=lambda separator: _regularity("".join(sample), separator))


def _regularity(sample: str, separator: str) -> tuple[bool, int]:
    """Tell whether all records have as many cells as the first, and how many that are."""
    reader = csv.reader(io.StringIO(sample, newline=""), delimiter=separator)
    try:
        widths = [len(record) for record in reader if record]
    except csv.Error:
        return (False, 0)
    if not widths:
        return (False, 0)
    # The last record may be cut off by the sample's end.
    regular = widths[0] > 1 and all(width == widths[0] for width in widths[:-1] or widths)
    return (regular, widths[0])
