"""The rows of a published dataset together with their lineage, one at a time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from realm.core.errors import CorruptError
from realm.core.records import Example
from realm.corpus.dataset import ROWS, read_examples
from realm.corpus.lineage import LINEAGE, RowLineage, read_lineage


class StoredRow(NamedTuple):
    """A row and what it was made of; None where the dataset has no lineage."""

    example: Example
    made_of: RowLineage | None


def stored_rows(folder: Path) -> Iterator[StoredRow]:
    """Yield the rows of a dataset's folder in their order.

    Raises CorruptError for a line that no dataset holds, and for lineage of more or fewer rows.
    """
    if not (folder / LINEAGE).is_file():
        for example in read_examples(folder):
            yield StoredRow(example, None)
        return
    lineage = read_lineage(folder)
    for example in read_examples(folder):
        made_of = next(lineage, None)
        if made_of is None:
            raise _uneven(folder)
        yield StoredRow(example, made_of)
    if next(lineage, None) is not None:
        raise _uneven(folder)


def _uneven(folder: Path) -> CorruptError:
    return CorruptError(
        f"{folder}: {ROWS} and {LINEAGE} have different numbers of lines",
        hint="restore the folder from a copy, or build the dataset again",
    )
