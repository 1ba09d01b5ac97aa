"""A file of rows, one JSON object a line: read as a whole, or one row at a time."""

from __future__ import annotations

import mmap
from pathlib import Path

from pydantic import ValidationError

from realm.core.config import first_problem
from realm.core.errors import DataError
from realm.core.records import Example


def read_examples(path: Path) -> tuple[list[Example], list[int], list[int]]:
    """Read a dataset's rows, their lines from 1 and where these begin. Raises DataError for a bad line."""
    examples, lines, offsets, offset = list[Example](), list[int](), list[int](), 0
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.isspace():
                examples.append(_parsed(line, path, number))
                lines.append(number)
                offsets.append(offset)
            offset += len(line)
    if not examples:
        raise DataError("there are no rows", file=str(path))
    return examples, lines, offsets


class Lines:
    """A file of rows, mapped when its first row is asked for."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._map: mmap.mmap | None = None

    def example(self, offset: int) -> Example:
        """Return the row that begins at this byte."""
        if self._map is None:
            with self._path.open("rb") as file:
                self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        end = self._map.find(b"\n", offset)
        return Example.model_validate_json(self._map[offset : end if end >= 0 else len(self._map)])


def _parsed(line: bytes, path: Path, number: int) -> Example:
    try:
        return Example.model_validate_json(line)
    except ValidationError as error:
        raise DataError(first_problem(error), file=str(path), line=number) from None
