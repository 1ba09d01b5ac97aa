"""Collect from sources: read what is new, scrub it at once, publish it as collections.

Items are taken in shards. A shard is published with one ledger write that also notes its items, so that
a kill at any moment costs at most the shard in work: the next call reads its items again and gets the
same bytes. Nothing unscrubbed is written but to the quarantine.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from realm.core.errors import DataError
from realm.core.events import CollectionAdded
from realm.core.hashing import hash_json
from realm.core.records import ArtifactKind, ArtifactRef, Record
from realm.corpus.collection import CollectionInfo, CollectionWriter, ScrubInfo
from realm.corpus.document import Document
from realm.corpus.scrub import ScrubbedDocument, Scrubber, Verdict
from realm.corpus.source import SOURCES, Item, Source, SourceConfig
from realm.corpus.tally import Reason, Tally
from realm.flows.context import Lab
from realm.ledger.records import CollectionRecord, SourceRecord

SHARD_BYTES = 32 << 20
SHARD_ITEMS = 2000

Hold = Callable[[str, Document, ScrubbedDocument], None]
"""Puts a document of an item into the quarantine."""


class CollectProgress(Record):
    """How far a collection is."""

    source: str
    items: int
    items_total: int
    bytes: int
    """Of the items that were read."""
    bytes_total: int
    documents: int


Progress = Callable[[CollectProgress], None]


class Collected(Record):
    """What one collection brought."""

    source: str
    kind: str
    items: int
    """All that the source has now."""
    new: int
    """Of them new or changed since the last time."""
    documents: int
    clean: int
    replaced: int
    quarantined: int
    findings: dict[str, int]
    left_out: tuple[Reason, ...]
    collections: tuple[str, ...]
    bytes: int
    """Of the new items."""


def add_source(lab: Lab, config: SourceConfig) -> SourceRecord:
    """Note a source, so that it is collected from now on. Raises StateError for a name in use."""
    kind: str = config.kind  # type: ignore[attr-defined]
    stored = config.model_dump(mode="json", exclude_defaults=True) | {"kind": kind, "name": config.name}
    return lab.ledger.sources.add(
        SourceRecord(name=config.name, kind=kind, config=stored, created_at=lab.clock())
    )


def collect(lab: Lab, source: SourceRecord, scrubber: Scrubber, hold: Hold, progress: Progress) -> Collected:
    """Take what is new in a source. Raises DataError or NotFoundError where it cannot be read at all."""
    return _Collecting(lab, source, scrubber, hold, progress).run()


def preview(source: Source, scrubber: Scrubber, limit: int) -> Iterator[tuple[Item, ScrubbedDocument]]:
    """Yield the first documents as they would be collected; nothing is written."""
    tally, left = Tally(), limit
    for item in source.items(tally):
        for document in source.read(item, tally):
            yield item, scrubber.scrub_document(document)
            left -= 1
            if not left:
                return


class _Collecting:
    """One collection being made."""

    def __init__(
        self, lab: Lab, source: SourceRecord, scrubber: Scrubber, hold: Hold, progress: Progress
    ) -> None:
        self._lab = lab
        self._record = source
        self._source = SOURCES.build(source.config)
        self._scrubber = scrubber
        self._hold = hold
        self._progress = progress
        self._total = Tally()
        self._verdicts: Counter[Verdict] = Counter()
        self._findings: Counter[str] = Counter()
        self._documents = 0
        self._done: list[Item] = []
        self._unreadable: set[str] = set()

    def run(self) -> Collected:
        items = list(self._source.items(self._total))
        known = self._lab.ledger.sources.items(self._record.name)
        self._new = [
            item
            for item in items
            if item.key not in known or known[item.key].fingerprint != self._fingerprint(item)
        ]
        self._tell()
        collections = [self._shard(shard) for shard in shards(self._new)]
        return Collected(
            source=self._record.name,
            kind=self._record.kind,
            items=len(items),
            new=len(self._new),
            documents=self._documents,
            clean=self._verdicts[Verdict.CLEAN],
            replaced=self._verdicts[Verdict.REPLACED],
            quarantined=self._verdicts[Verdict.QUARANTINED],
            findings=dict(sorted(self._findings.items())),
            left_out=self._total.reasons(),
            collections=tuple(dict.fromkeys(record.hash for record in collections)),
            bytes=sum(item.size_bytes for item in self._new),
        )

    def _fingerprint(self, item: Item) -> str:
        """Return what tells whether an item would give other documents than it gave."""
        settings = {"source": self._record.config, "scrub": self._scrub_settings}
        versions = [self._source.version, self._scrubber.version]
        return hash_json([item.fingerprint, versions, settings])

    @property
    def _scrub_settings(self) -> dict[str, Any]:
        return self._scrubber.config.model_dump(mode="json", exclude={"decisions"})

    def _shard(self, items: Sequence[Item]) -> CollectionRecord:
        """Read, scrub and publish some items."""
        stage = self._lab.store.stage(ArtifactKind.COLLECTION)
        try:
            info = self._fill(stage, items)
        except BaseException:
            self._lab.store.discard(stage)
            raise
        commit = partial(self._commit, info, items)
        record = self._lab.store.publish(stage, ArtifactKind.COLLECTION, commit)
        self._lab.emit(
            CollectionAdded(collection=record.hash, source=record.source, documents=record.documents)
        )
        return record

    def _fill(self, stage: Path, items: Sequence[Item]) -> CollectionInfo:
        tally, verdicts, findings = Tally(), Counter[Verdict](), Counter[str]()
        with CollectionWriter(stage) as writer:
            for item in items:
                for document in self._read(item, tally):
                    found = self._scrubber.scrub_document(document)
                    verdicts[found.verdict] += 1
                    findings.update(finding.kind for finding in found.findings)
                    if found.verdict is Verdict.QUARANTINED:
                        self._hold(item.key, document, found)
                    else:
                        writer.add(item.key, found.document)
                        self._documents += 1
                self._done.append(item)
                self._tell()
            self._total.merge(tally.reasons())
            self._verdicts.update(verdicts)
            self._findings.update(findings)
            return writer.finish(
                CollectionInfo(
                    source=self._record.name,
                    kind=self._record.kind,
                    version=self._source.version,
                    config=self._record.config,
                    items=len(items),
                    documents=writer.documents,
                    left_out=tally.reasons(),
                    scrub=ScrubInfo(
                        version=self._scrubber.version,
                        config=hash_json(self._scrub_settings),
                        clean=verdicts[Verdict.CLEAN],
                        replaced=verdicts[Verdict.REPLACED],
                        quarantined=verdicts[Verdict.QUARANTINED],
                        kinds=dict(sorted(findings.items())),
                    ),
                )
            )

    def _read(self, item: Item, tally: Tally) -> Iterator[Document]:
        """Yield an item's documents; one that cannot be read at all is counted, and read again next time."""
        try:
            yield from self._source.read(item, tally)
        except DataError as error:
            tally.add("an item that cannot be read", f"{item.key}: {error.reason}")
            self._unreadable.add(item.key)

    def _commit(self, info: CollectionInfo, items: Sequence[Item], ref: ArtifactRef) -> CollectionRecord:
        return self._lab.ledger.sources.add_collection(
            CollectionRecord(
                hash=ref.hash,
                source=self._record.name,
                version=info.version,
                documents=info.documents,
                size_bytes=ref.size_bytes,
                read_bytes=sum(item.size_bytes for item in items),
                left_out=tuple(reason.model_dump() for reason in info.left_out),
                scrub=info.scrub.model_dump(),
                created_at=self._lab.clock(),
            ),
            {item.key: self._fingerprint(item) for item in items if item.key not in self._unreadable},
        )

    def _tell(self) -> None:
        self._progress(
            CollectProgress(
                source=self._record.name,
                items=len(self._done),
                items_total=len(self._new),
                bytes=sum(item.size_bytes for item in self._done),
                bytes_total=sum(item.size_bytes for item in self._new),
                documents=self._documents,
            )
        )


def shards(items: Iterable[Item]) -> Iterator[list[Item]]:
    """Yield items in their order, in shards of bounded size; a large item is a shard of its own."""
    shard: list[Item] = []
    size = 0
    for item in items:
        if shard and (size + item.size_bytes > SHARD_BYTES or len(shard) >= SHARD_ITEMS):
            yield shard
            shard, size = [], 0
        shard.append(item)
        size += item.size_bytes
    if shard:
        yield shard
