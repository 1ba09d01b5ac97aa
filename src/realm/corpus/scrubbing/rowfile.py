"""Rows of a file to scrub: one JSON value a line, or the lines of any text, in blocks.

Plain or gzip. A line that is not JSON is looked at as text, so that no error message tells of it.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, cast

from realm.core.errors import DataError
from realm.core.text import printable
from realm.corpus.files.lines import open_regular, read_lines

_GZIP = b"\x1f\x8b"
_ROW_SUFFIXES = (".jsonl", ".ndjson", ".jsonl.gz", ".ndjson.gz")
_LINE_BYTES = 16 << 20
_BLOCK_BYTES = 256 << 10
_OPEN_BYTES = 1 << 20
"""How far a block may grow until a key that began in it has ended."""
_BEGIN, _END = b"-----BEGIN", b"-----END"


class FileRow(NamedTuple):
    """One row of a file of rows."""

    number: int
    """From 0; blank lines do not count."""
    line: int
    value: Any


class Block(NamedTuple):
    """Whole lines of a text file."""

    first_line: int
    """From 0."""
    text: str


def holds_rows(path: Path) -> bool:
    """Tell by its name whether a file has one JSON value a line."""
    return path.name.lower().endswith(_ROW_SUFFIXES)


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """Open a regular file, unpacked where it is gzip. Raises DataError and NotFoundError."""
    with open_regular(path) as file:
        packed = file.peek(2)[:2] == _GZIP  # type: ignore[attr-defined]
        try:
            yield cast("BinaryIO", gzip.GzipFile(fileobj=file)) if packed else file
        except (EOFError, gzip.BadGzipFile, zlib.error):
            raise DataError("a broken gzip file", file=printable(path.name)) from None


def rows(path: Path) -> Iterator[FileRow]:
    """Yield the rows of a file of JSON lines. Raises DataError for a line of more than 16 MB."""
    number = 0
    for line, raw in _lines(path):
        text = raw.decode("utf-8", "replace").strip("\ufeff \t\r\n")
        if text:
            yield FileRow(number, line, _value(text))
            number += 1


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    with opened(path) as file:
        try:
            yield from read_lines(file, _LINE_BYTES)
        except DataError as error:
            raise DataError(
                error.reason, file=printable(path.name), line=error.line, hint=error.hint
            ) from None


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def blocks(path: Path) -> Iterator[Block]:
    """Yield a text file in blocks of whole lines; a key in armour stays in one block."""
    first, held, size, opened_key = 0, list[bytes](), 0, False
    for _, line in _lines(path):
        held.append(line)
        size += len(line)
        if _BEGIN in line:
            opened_key = True
        if _END in line:
            opened_key = False
        if size >= (_OPEN_BYTES if opened_key else _BLOCK_BYTES):
            yield Block(first, b"".join(held).decode("utf-8", "replace"))
            first += len(held)
            held, size, opened_key = [], 0, False
    if held:
        yield Block(first, b"".join(held).decode("utf-8", "replace"))
