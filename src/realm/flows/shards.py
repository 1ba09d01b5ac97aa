"""A shard: scrubbed documents on their way into one collection."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from realm.core.events import CollectionAdded
from realm.core.hashing import hash_json
from realm.core.records import ArtifactKind, ArtifactRef
from realm.corpus.collection import CollectionInfo, CollectionWriter, ScrubInfo
from realm.corpus.scrub import ScrubbedDocument, Scrubber, Verdict
from realm.corpus.tally import Reason
from realm.flows.context import Lab
from realm.ledger.records import CollectionRecord, SourceRecord

Note = Callable[[CollectionRecord], CollectionRecord]
"""The ledger write that makes a collection known, with the items that point at it."""


def scrub_settings(scrubber: Scrubber) -> dict[str, Any]:
    """Return the settings that decide what a scrubber does; decisions apply to new documents only."""
    return scrubber.config.model_dump(mode="json", exclude={"decisions"})


class Shard:
    """Write documents into a stage and publish it; use as a context. Unpublished, it leaves nothing."""

    def __init__(self, lab: Lab, source: SourceRecord, version: str, scrubber: Scrubber) -> None:
        """Begin a shard of a source that code of this version reads."""
        self._lab, self._source, self._version, self._scrubber = lab, source, version, scrubber
        self.verdicts: Counter[Verdict] = Counter()
        self.findings: Counter[str] = Counter()
        """By kind."""

    def __enter__(self) -> Self:
        self._stage = self._lab.store.stage(ArtifactKind.COLLECTION)
        self._writer = CollectionWriter(self._stage).__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.__exit__(kind, error, trace)
        self._lab.store.discard(self._stage)

    @property
    def bytes(self) -> int:
        """Written so far."""
        return self._writer.bytes

    @property
    def seen(self) -> int:
        """Documents so far, those that are held included."""
        return self.verdicts.total()

    def add(self, item: str, found: ScrubbedDocument) -> None:
        """Count a document, and write it where the scrubber is sure."""
        self.verdicts[found.verdict] += 1
        self.findings.update(finding.kind for finding in found.findings)
        if found.verdict is not Verdict.QUARANTINED:
            self._writer.add(item, found.document)

    def publish(
        self, items: int, read_bytes: int, left_out: tuple[Reason, ...], note: Note
    ) -> CollectionRecord:
        """Publish what was written as the collection of so many items."""
        info = self._writer.finish(self._info(items, left_out))

        def commit(ref: ArtifactRef) -> CollectionRecord:
            return note(
                CollectionRecord(
                    hash=ref.hash,
                    source=self._source.name,
                    version=info.version,
                    documents=info.documents,
                    size_bytes=ref.size_bytes,
                    read_bytes=read_bytes,
                    left_out=tuple(reason.model_dump() for reason in info.left_out),
                    scrub=info.scrub.model_dump(),
                    created_at=self._lab.clock(),
                )
            )

        record = self._lab.store.publish(self._stage, ArtifactKind.COLLECTION, commit)
        self._lab.emit(
            CollectionAdded(collection=record.hash, source=record.source, documents=record.documents)
        )
        return record

    def _info(self, items: int, left_out: tuple[Reason, ...]) -> CollectionInfo:
        return CollectionInfo(
            source=self._source.name,
            kind=self._source.kind,
            version=self._version,
            config=self._source.config,
            items=items,
            documents=self._writer.documents,
            conventions=self._writer.conventions,
            left_out=left_out,
            scrub=ScrubInfo(
                version=self._scrubber.version,
                config=hash_json(scrub_settings(self._scrubber)),
                clean=self.verdicts[Verdict.CLEAN],
                replaced=self.verdicts[Verdict.REPLACED],
                quarantined=self.verdicts[Verdict.QUARANTINED],
                kinds=dict(sorted(self.findings.items())),
            ),
        )
