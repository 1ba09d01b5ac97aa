"""The documents of sources as they were last collected."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator
from functools import cached_property
from pathlib import Path

from realm.core.records import ArtifactKind
from realm.corpus.collection import read_documents, read_info
from realm.corpus.document import Document
from realm.flows.context import Lab
from realm.ledger.records import CollectionRecord, SourceRecord


class CollectedDocuments:
    """Documents of some sources, source by source. Every collection is verified once, when first read."""

    def __init__(self, lab: Lab, sources: Iterable[SourceRecord]) -> None:
        self._lab = lab
        self.sources = tuple(sources)
        self._folders: dict[str, Path] = {}
        self._current = {source.name: _current(lab, source) for source in self.sources}

    @cached_property
    def collections(self) -> tuple[CollectionRecord, ...]:
        """Those that hold a document of today, by source, oldest first."""
        return tuple(
            record
            for source in self.sources
            for record in self._lab.ledger.sources.collections(source.name)
            if record.hash in self._current[source.name]
        )

    def of(self, names: Container[str]) -> Iterator[Document]:
        """Yield every document of the sources of these names, oldest collections first."""
        for record in self.collections:
            if record.source in names:
                yield from self._read(record)

    def conventions(self) -> Iterator[Document]:
        """Yield the documents of those collections that hold conventions at all."""
        for record in self.collections:
            if read_info(self._folder(record)).conventions:
                yield from self._read(record)

    def _read(self, record: CollectionRecord) -> Iterator[Document]:
        items = self._current[record.source][record.hash]
        for stored in read_documents(self._folder(record)):
            if stored.item in items:
                yield stored.document

    def _folder(self, record: CollectionRecord) -> Path:
        if record.hash not in self._folders:
            self._folders[record.hash] = self._lab.store.verified(ArtifactKind.COLLECTION, record.hash)
        return self._folders[record.hash]


def _current(lab: Lab, source: SourceRecord) -> dict[str, set[str]]:
    """Return each collection's items that it still holds the newest documents of."""
    held: dict[str, set[str]] = {}
    for item in lab.ledger.sources.items(source.name).values():
        for collection in item.collections:
            held.setdefault(collection, set()).add(item.item)
    return held
