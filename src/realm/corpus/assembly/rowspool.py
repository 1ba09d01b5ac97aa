"""Rows put aside on the disk until all of them are known, and which of them stay."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from realm.core.errors import StorageError
from realm.corpus.shaper import Row


class RowSpool:
    """Rows in one file, by their place from 0; a byte of memory each."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._staying = bytearray()

    def __len__(self) -> int:
        return len(self._staying)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Open the file for `add`. Raises StorageError where the disk is full."""
        try:
            with self._path.open("wb", buffering=1 << 20) as self._file:
                yield
        except OSError as error:
            raise StorageError(
                f"rows cannot be put aside: {error.strerror}", hint="free some space and build again"
            ) from error

    def add(self, row: Row, *, stays: bool) -> None:
        """Put the next row aside; of one that does not stay only its place is kept."""
        self._staying.append(stays)
        if stays:
            self._file.write(row.model_dump_json(exclude_defaults=True).encode())
        self._file.write(b"\n")

    def stays(self, place: int) -> bool:
        """Return whether a row stays."""
        return bool(self._staying[place])

    def drop(self, place: int) -> None:
        """Let a row go."""
        self._staying[place] = False

    def kept(self) -> Iterator[Row]:
        """Yield the rows that stay, in their order."""
        with self._path.open("rb") as file:
            for place, line in enumerate(file):
                if self._staying[place]:
                    yield Row.model_validate_json(line)
