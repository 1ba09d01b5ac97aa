"""Sources: where documents come from.

A kind lists its items (files, sessions, exports) cheaply and reads one item at a time, so that a second
collection takes only items whose fingerprint is new. Everything it yields is scrubbed before it is
stored; a source stores nothing itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from pydantic import Field

from realm.core.config import Config
from realm.core.kinds import Family
from realm.core.records import Name, Record
from realm.corpus.document import Document
from realm.corpus.tally import Tally

UNREADABLE_FOLDER = "a folder that cannot be read"
"""Counted by `items` for a folder that it had to pass over: what was collected beneath is not gone."""


class SourceConfig(Config):
    """What every source may be told; a kind's own `Config` extends it."""

    name: Name
    """What the lab calls it; part of every row's provenance."""
    licence: str | None = None
    """SPDX identifier of everything in it, where the person knows better than the files."""
    contributor: str | None = None
    rig: str | None = None
    tags: dict[str, str | int] = Field(default_factory=dict)
    """Put on every document: role, task, domain."""


def kind_name(config: SourceConfig) -> str:
    """Return the kind that a source's config is of."""
    kind: str = config.kind  # type: ignore[attr-defined]
    return kind


class Item(Record):
    """One thing of a source that is read as a whole."""

    key: str
    """Unique and stable within the source: a relative path, a session's id."""
    fingerprint: str
    """Changes whenever what would be read changes: content hash, commit, or size, time and inode."""
    size_bytes: int = 0
    """For progress and sharding."""


class Source(Protocol):
    """A configured source. The class has a nested `Config` of `SourceConfig` and `kind`."""

    version: str
    """Of the reading code; raised when the same bytes would give other documents."""

    def items(self, tally: Tally) -> Iterator[Item]:
        """List what there is now, in a stable order; count what is left out with its reason.

        Raises DataError or NotFoundError when the source as a whole cannot be read.
        """
        ...

    def read(self, item: Item, tally: Tally) -> Iterator[Document]:
        """Yield the documents of one item; count every row or part that is left out with its reason.

        Raises DataError (file, line, reason) for an item that cannot be read at all.
        """
        ...


SOURCES: Family[Source] = Family("source", "realm.corpus.sources")
