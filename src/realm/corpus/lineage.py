"""The lineage of a dataset's rows: `lineage.jsonl`, a line for each row of `rows.jsonl`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from pydantic import ValidationError

from realm.core.config import first_problem
from realm.core.errors import CorruptError, NotFoundError, StorageError
from realm.core.records import Record
from realm.corpus.document import Origin
from realm.corpus.shaper import Row

LINEAGE = "lineage.jsonl"


class RowLineage(Record):
    """What one row was made of."""

    document: str
    """Id within `origin.source`."""
    shaper: str
    """`kind@version`."""
    group: str
    """What the split kept together."""
    origin: Origin


class LineageWriter:
    """Write lineage beside rows, in their order; use as a context."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / LINEAGE

    def __enter__(self) -> Self:
        try:
            self._file = self._path.open("wb", buffering=1 << 20)
        except OSError as error:
            raise self._failed(error) from error
        return self

    def add(self, row: Row) -> None:
        """Note the next row."""
        line = RowLineage.model_construct(
            document=row.document, shaper=row.shaper, group=row.group, origin=row.origin
        ).model_dump_json(exclude_defaults=True)
        try:
            self._file.write(line.encode() + b"\n")
        except OSError as error:
            raise self._failed(error) from error

    def close(self) -> None:
        """Write what is still in memory."""
        try:
            self._file.close()
        except OSError as error:
            raise self._failed(error) from error

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(OSError):  # a full disk refuses the rest of the buffer once more
            self._file.close()

    def _failed(self, error: OSError) -> StorageError:
        return StorageError(
            f"{self._path}: not writable: {error.strerror}", hint="free some space and try again"
        )


def read_lineage(folder: Path) -> Iterator[RowLineage]:
    """Yield the lineage of a dataset's rows. Raises NotFoundError where the dataset has none."""
    path = folder / LINEAGE
    if not path.is_file():
        raise NotFoundError(
            f"{folder.name}: this dataset has no lineage",
            hint="only datasets that `realm data build` made know what each row came from",
        )
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            try:
                yield RowLineage.model_validate_json(line)
            except ValidationError as error:
                reason = first_problem(error)
                raise CorruptError(f"{path}:{number}: no lineage of a row: {reason}") from None
