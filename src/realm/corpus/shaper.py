"""Shapers: documents in, training rows out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol

from realm.core.kinds import Family
from realm.core.records import Example, Record
from realm.corpus.document import Document, Origin
from realm.corpus.tally import Tally


class Row(Record):
    """One training row and everything that is known about its making."""

    example: Example
    """Tags `role`, `task` and `domain` say what the row is for; `language` where it holds code."""
    origin: Origin
    document: str
    """Id of the document it was made of, within `origin.source`."""
    shaper: str
    """`kind@version`."""
    group: str
    """What must stay on one side of the train/eval split."""
    also: tuple[str, ...] = ()
    """Groups of further documents whose words the row holds; it stays only where all are on one side."""


class Shaper(Protocol):
    """A configured shaper. The class has a nested `Config` with `kind`."""

    version: str
    """Raised when the same documents would give other rows."""

    def shape(self, documents: Iterable[Document], tally: Tally) -> Iterator[Row]:
        """Yield rows, in the documents' order where it can; count what gave no row with its reason.

        A shaper that joins documents (two sessions of one work item) holds only what it still needs.
        """
        ...


SHAPERS: Family[Shaper] = Family("shaper", "realm.corpus.shapers")
