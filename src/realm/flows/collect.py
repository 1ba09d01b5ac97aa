"""Collect from sources: read what is new, scrub it at once, publish it as collections.

Small items are taken together, large ones in parts: shards of about 32 MB. A shard is published with one
ledger write that also notes what was read, so that a kill at any moment costs at most the shard in work: the
next call reads on behind it and gets the same bytes. A large item counts as collected with its last part.
Nothing unscrubbed is written but to the quarantine.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Protocol

from realm.core.errors import DataError
from realm.core.hashing import PREFIX, hash_bytes, hash_json
from realm.core.records import ArtifactKind, Record
from realm.corpus.document import Document
from realm.corpus.scrub import ScrubbedDocument, Scrubber, Verdict
from realm.corpus.source import SOURCES, Item, Source, SourceConfig, kind_name
from realm.corpus.tally import Reason, Tally
from realm.flows.context import Lab
from realm.flows.shards import Note, Shard, scrub_settings
from realm.ledger.records import CollectedRecord, CollectionRecord, SourceRecord

SHARD_BYTES = 32 << 20
SHARD_ITEMS = 2000
_NAME_DIGITS = 32
_TOLD_EVERY_S = 0.2
"""Between two words of progress; whoever hears them may end the collection."""


class Hold(Protocol):
    """Puts documents into the quarantine."""

    def __call__(self, item: str, document: Document, found: ScrubbedDocument) -> None:
        """Hold a document of an item."""
        ...

    def flush(self) -> None:
        """Make durable what was held; called before what was read beside it is published."""
        ...


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
    kind = kind_name(config)
    stored = config.model_dump(mode="json", exclude_defaults=True) | {"kind": kind, "name": config.name}
    return lab.ledger.sources.add(
        SourceRecord(name=config.name, kind=kind, config=stored, created_at=lab.clock())
    )


def collect(
    lab: Lab,
    record: SourceRecord,
    scrubber: Scrubber,
    hold: Hold,
    progress: Progress,
    source: Source | None = None,
) -> Collected:
    """Take what is new in a source, or in the part of it that `source` is.

    Raises DataError or NotFoundError where it cannot be read at all.
    """
    lab.store.clear_stages(ArtifactKind.COLLECTION)
    return _Collecting(lab, record, source or SOURCES.build(record.config), scrubber, hold, progress).run()


class _Collecting:
    """One collection being made."""

    def __init__(
        self,
        lab: Lab,
        record: SourceRecord,
        source: Source,
        scrubber: Scrubber,
        hold: Hold,
        progress: Progress,
    ) -> None:
        self._ledger = lab.ledger.sources
        self._record = record
        self._source = source
        self._scrubber = scrubber
        self._hold = hold
        self._progress = progress
        self._shard = partial(Shard, lab, record, source.version, scrubber)
        self._settings = {"source": record.config, "scrub": scrub_settings(scrubber)}
        self._left_out = Tally()
        self._verdicts: Counter[Verdict] = Counter()
        self._findings: Counter[str] = Counter()
        self._items = self._bytes = self._item_bytes = 0
        self._told_at = 0.0
        self._unreadable: set[str] = set()

    def run(self) -> Collected:
        items = list(self._source.items(self._left_out))
        known = self._ledger.items(self._record.name)
        self._new = [
            item
            for item in items
            if (before := known.get(stored_name(item))) is None
            or before.fingerprint != self._fingerprint(item)
        ]
        self._bytes_total = sum(item.size_bytes for item in self._new)
        self._tell()
        collections = [record.hash for shard in shards(self._new) for record in self._taken(shard)]
        verdicts = self._verdicts
        return Collected(
            source=self._record.name,
            kind=self._record.kind,
            items=len(items),
            new=len(self._new),
            documents=verdicts.total() - verdicts[Verdict.QUARANTINED],
            clean=verdicts[Verdict.CLEAN],
            replaced=verdicts[Verdict.REPLACED],
            quarantined=verdicts[Verdict.QUARANTINED],
            findings=dict(sorted(self._findings.items())),
            left_out=self._shown(self._left_out.reasons()),
            collections=tuple(dict.fromkeys(collections)),
            bytes=self._bytes,
        )

    def _fingerprint(self, item: Item) -> str:
        """Return what tells whether an item would give other documents than it gave."""
        return hash_json([item.fingerprint, self._source.version, self._scrubber.version, self._settings])

    def _taken(self, items: Sequence[Item]) -> Iterator[CollectionRecord]:
        """Publish a shard of small items, or the parts of a large one."""
        if len(items) == 1 and items[0].size_bytes > SHARD_BYTES:
            yield from self._parts(items[0])
        else:
            yield self._whole(items)

    def _whole(self, items: Sequence[Item]) -> CollectionRecord:
        tally = Tally()
        with self._shard() as shard:
            for item in items:
                name = stored_name(item)
                for document in self._read(item, tally):
                    self._take(shard, item, name, document)
                self._end(item)
            prints = {
                stored_name(item): self._fingerprint(item)
                for item in items
                if item.key not in self._unreadable
            }
            note = partial(self._ledger.add_collection, fingerprints=prints)
            return self._publish(shard, items, sum(item.size_bytes for item in items), tally, note)

    def _parts(self, item: Item) -> Iterator[CollectionRecord]:
        """Publish part after part, going on behind those that are there already."""
        fingerprint, tally, last = self._fingerprint(item), Tally(), False
        name = stored_name(item)
        begun = self._ledger.begun(self._record.name, name, fingerprint)
        documents, read = self._read(item, tally), 0
        if begun:
            read = begun.read
            self._item_bytes = self._read_bytes(begun)
            for _ in range(read):
                next(documents, None)
            tally.take()  # counted with the parts that are there
        while not last:
            with self._shard() as shard:
                for document in documents:
                    self._take(shard, item, name, document)
                    if shard.bytes >= SHARD_BYTES:
                        break
                else:
                    last = True
                    self._end(item)
                read += shard.seen
                whole = last and item.key not in self._unreadable
                if shard.seen or whole:
                    note = partial(
                        self._ledger.add_part, item=name, fingerprint=fingerprint, read=read, last=whole
                    )
                    yield self._publish(shard, [item], shard.bytes, tally, note)

    def _take(self, shard: Shard, item: Item, name: str, document: Document) -> None:
        """Scrub a document and write it, or hold it for a person."""
        found = self._scrubber.scrub_document(document)
        if found.verdict is Verdict.QUARANTINED:
            self._hold(name, document, found)
        before = shard.bytes
        shard.add(name, found)
        self._verdicts[found.verdict] += 1
        self._item_bytes = min(self._item_bytes + shard.bytes - before, item.size_bytes)
        if time.monotonic() - self._told_at >= _TOLD_EVERY_S:
            self._tell()

    def _end(self, item: Item) -> None:
        self._items += 1
        self._bytes += item.size_bytes
        self._item_bytes = 0
        self._tell()

    def _read_bytes(self, begun: CollectedRecord) -> int:
        """Return what was read of the parts that are there."""
        known = self._ledger.collections(self._record.name)
        return sum(each.read_bytes for each in known if each.hash in begun.collections)

    def _publish(
        self, shard: Shard, items: Sequence[Item], read_bytes: int, tally: Tally, note: Note
    ) -> CollectionRecord:
        self._findings.update(shard.findings)
        reasons = self._shown(tally.take())
        self._left_out.merge(reasons)
        self._hold.flush()
        return shard.publish(len(items), read_bytes, reasons, note)

    def _shown(self, reasons: tuple[Reason, ...]) -> tuple[Reason, ...]:
        """Return reasons whose places show nothing that is found in them: a file's name may hold anything."""
        return tuple(
            reason.model_copy(update={"examples": tuple(map(self._place, reason.examples))})
            for reason in reasons
        )

    def _place(self, place: str) -> str:
        found = self._scrubber.scrub_text(place)
        return "…" if found.verdict is Verdict.QUARANTINED else found.text

    def _read(self, item: Item, tally: Tally) -> Iterator[Document]:
        """Yield an item's documents; one that cannot be read at all is counted, and read again next time."""
        try:
            yield from self._source.read(item, tally)
        except DataError as error:
            tally.add("an item that cannot be read", f"{item.key}: {error.reason}")
            self._unreadable.add(item.key)

    def _tell(self) -> None:
        self._told_at = time.monotonic()
        quarantined = self._verdicts[Verdict.QUARANTINED]
        self._progress(
            CollectProgress(
                source=self._record.name,
                items=self._items,
                items_total=len(self._new),
                bytes=self._bytes + self._item_bytes,
                bytes_total=self._bytes_total,
                documents=self._verdicts.total() - quarantined,
            )
        )


def stored_name(item: Item) -> str:
    """Return what an item is called where it is stored: its key may be a file's name, and hold anything."""
    return hash_bytes(item.key.encode("utf-8", "surrogatepass")).removeprefix(PREFIX)[:_NAME_DIGITS]


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
