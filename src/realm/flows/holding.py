"""Hold what a collection is not sure of, and keep a sample of what passed.

One quarantine for the realm, `vault/quarantine/scrub`; the samples lie in `vault/quarantine/audit`. Both are
readable by their owner only.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from realm.core.hashing import PREFIX
from realm.core.paths import expanded
from realm.core.records import ArtifactKind, Record
from realm.core.text import printable
from realm.corpus.collection import DOCUMENTS, Stored
from realm.corpus.document import Document
from realm.corpus.scrub import ScrubbedDocument, Scrubber
from realm.corpus.scrubbing.finding import Finding
from realm.corpus.scrubbing.review import DECISIONS, Quarantine, Reading, Sample, sampled
from realm.corpus.tally import Tally
from realm.flows.collect import Collected
from realm.flows.context import Lab
from realm.ledger.records import CollectedRecord, SourceRecord

DROPPED = "dropped in review"
SAMPLE_MOST = 200
"""Documents of one collection that are kept for inspection."""
_MASK = "…"


class Sampled(Record):
    """A document that passed, as it was stored."""

    source: str
    collection: str
    row: str
    value: Any


def quarantine_of(lab: Lab) -> Quarantine:
    """Return the realm's quarantine, with the decisions that its scrubber follows."""
    folder, decisions = lab.home.vault / "quarantine" / "scrub", lab.config.corpus.scrub.decisions
    return Quarantine(folder, lab.home.root / expanded(decisions) if decisions else folder / DECISIONS)


class Holding:
    """Hold what a collection of one source is not sure of; use as a context around it."""

    def __init__(self, lab: Lab, source: SourceRecord, scrubber: Scrubber) -> None:
        self._lab, self._source, self._scrubber = lab, source.name, scrubber
        self._quarantine = quarantine_of(lab)
        self._dropped = Tally()
        self._held: set[str] = set()

    def __enter__(self) -> Self:
        items = self._lab.ledger.sources.items(self._source)
        settle(self._quarantine, self._source, items)
        self._left_over = self._quarantine.pending(self._source)
        self._before = {key: item.fingerprint for key, item in items.items()}
        self._collections = {one.hash for one in self._lab.ledger.sources.collections(self._source)}
        return self

    def __call__(self, item: str, document: Document, found: ScrubbedDocument) -> None:
        """Hold a document of an item, or count it as left out where a person dropped it."""
        value, findings = looked_at(self._scrubber, document)
        where = _where(self._source, document, findings)
        reading = Reading(source=self._source, item=item, document=document.id, before=self._before.get(item))
        name = self._quarantine.hold_document(reading, where, value, findings)
        if name is None:
            self._dropped.add(DROPPED, where)
        else:
            self._held.add(name)

    def flush(self) -> None:
        """Make durable what was held, before what was read beside it is published."""
        self._quarantine.flush()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        items = self._lab.ledger.sources.items(self._source)
        for name, reading in self._left_over.items():
            if name not in self._held and self._is_anew(reading, items):
                self._quarantine.forget(name)
        settle(self._quarantine, self._source, items)

    def _is_anew(self, reading: Reading, items: Mapping[str, CollectedRecord]) -> bool:
        """Tell whether an item was read anew, from its start, instead of going on with what was begun."""
        now = items.get(reading.item)
        return (
            now is not None
            and now.fingerprint != reading.before
            and not self._collections & {*now.collections}
        )

    def told(self, collected: Collected) -> Collected:
        """Return what a collection brought, with what was dropped; keep its samples."""
        for collection in collected.collections:
            keep_sample(self._lab, collection)
        if not self._dropped.total():
            return collected
        left_out = Tally()
        left_out.merge(collected.left_out)
        left_out.merge(self._dropped.reasons())
        return collected.model_copy(
            update={
                "quarantined": collected.quarantined - self._dropped.total(),
                "left_out": left_out.reasons(),
            }
        )


def settle(quarantine: Quarantine, source: str, items: Mapping[str, CollectedRecord]) -> None:
    """Let what published readings held wait. Only who holds the source may call this."""
    quarantine.settle(source, {key: item.fingerprint for key, item in items.items()})


def looked_at(scrubber: Scrubber, document: Document) -> tuple[Any, tuple[Finding, ...]]:
    """Return a document as a JSON value, and what is found in it at places of that value."""
    value = document.model_dump(mode="json", exclude_defaults=True)
    return value, scrubber.scrub_value(value).findings


def _where(source: str, document: Document, findings: tuple[Finding, ...]) -> str:
    """Name a document without what was found in its id."""
    shown = document.id
    for finding in sorted(findings, key=lambda one: -one.start):
        if finding.where == "/id":
            shown = shown[: finding.start] + _MASK + shown[finding.end :]
    return f"{source}/{printable(shown, 200)}"


def keep_sample(lab: Lab, collection: str) -> Path | None:
    """Keep a share of a collection's documents for inspection; the file, or None where none was drawn.

    Which ones depends on the collection alone, so that the sample can be drawn again.
    """
    folder = lab.store.path(ArtifactKind.COLLECTION, collection)
    name = collection.removeprefix(PREFIX)
    file = lab.home.vault / "quarantine" / "audit" / f"{name}.jsonl"
    if file.exists():
        return file
    sample = Sample(file, lab.config.corpus.scrub.audit, 0, SAMPLE_MOST)
    with (folder / DOCUMENTS).open("rb") as lines:
        for number, line in enumerate(lines):
            row = f"{name}#{number}"
            if sample.takes(row):
                sample.offer(
                    row, Stored.model_validate_json(line).model_dump(mode="json", exclude_defaults=True)
                )
    if not sample.rows:
        return None
    sample.write()
    return file


def samples(lab: Lab) -> Iterator[Sampled]:
    """Yield the documents kept for inspection, of all collections, oldest first."""
    for record in lab.ledger.sources.collections():
        file = keep_sample(lab, record.hash)
        for kept in sampled(file) if file else ():
            yield Sampled(source=record.source, collection=record.hash, row=kept["row"], value=kept["value"])
