"""The documents of sources as they were last collected."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator
from functools import cached_property
from pathlib import Path

from realm.core.records import ArtifactKind
from realm.corpus.collection import Stored, read_documents, read_info
from realm.corpus.document import Document
from realm.flows.context import Lab
from realm.flows.gone import Doubt, Gone, gone_from
from realm.ledger.records import CollectionRecord, SourceRecord

CONVENTIONS = ("instructions", "template", "spec", "formula")
"""What `convention` says of documents that hold only as long as their item is there."""


class CollectedDocuments:
    """Documents of some sources, source by source. Every collection is verified once, when first read."""

    def __init__(self, lab: Lab, sources: Iterable[SourceRecord]) -> None:
        self._lab = lab
        self.sources = tuple(sources)
        self._folders: dict[str, Path] = {}
        self._listed: dict[str, Gone] = {}
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
        """Yield the documents of those collections that hold conventions at all, but for those gone."""
        for record in self._with_conventions():
            for document in self._read(record):
                if (record.source, document.id) not in self.gone:
                    yield document

    @cached_property
    def gone(self) -> frozenset[tuple[str, str]]:
        """Source and id of every convention whose item the source holds no longer.

        Only sources of which conventions were collected are listed, each once.
        """
        return frozenset(
            (record.source, stored.document.id)
            for record in self._with_conventions()
            if (items := self._gone_from(record.source).items)
            for stored in self._stored(record)
            if stored.item in items and stored.document.fields.get("convention") in CONVENTIONS
        )

    @property
    def doubts(self) -> tuple[Doubt, ...]:
        """Sources of conventions of which nothing is taken for gone, by name, each with the reason."""
        names = dict.fromkeys(record.source for record in self._with_conventions())
        return tuple(doubt for name in names if (doubt := self._gone_from(name).doubt))

    def _with_conventions(self) -> Iterator[CollectionRecord]:
        for record in self.collections:
            if read_info(self._folder(record)).conventions:
                yield record

    def _gone_from(self, name: str) -> Gone:
        if name not in self._listed:
            source = next(source for source in self.sources if source.name == name)
            self._listed[name] = gone_from(self._lab, source)
        return self._listed[name]

    def _read(self, record: CollectionRecord) -> Iterator[Document]:
        for stored in self._stored(record):
            yield stored.document

    def _stored(self, record: CollectionRecord) -> Iterator[Stored]:
        items = self._current[record.source][record.hash]
        return (stored for stored in read_documents(self._folder(record)) if stored.item in items)

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
