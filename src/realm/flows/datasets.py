"""Publish a staged dataset and write its ledger row."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from realm.core.events import DatasetAdded
from realm.core.records import ArtifactKind, ArtifactRef
from realm.corpus.dataset import DatasetInfo
from realm.flows.context import Lab
from realm.ledger.records import DatasetRecord


def publish_dataset(lab: Lab, write: Callable[[Path], DatasetInfo], *, source: str) -> DatasetRecord:
    """Let `write` fill a stage, publish it under its content's name, and register it."""
    stage = lab.store.stage(ArtifactKind.DATASET)
    try:
        info = write(stage)
    except BaseException:
        lab.store.discard(stage)
        raise
    return publish_stage(lab, stage, info, source=source)


def publish_stage(lab: Lab, stage: Path, info: DatasetInfo, *, source: str) -> DatasetRecord:
    """Publish a filled stage under its content's name and register the dataset."""

    def commit(ref: ArtifactRef) -> DatasetRecord:
        return lab.ledger.datasets.add(
            DatasetRecord(
                hash=ref.hash,
                name=info.name,
                spec=info.spec,
                rows=info.rows,
                size_bytes=ref.size_bytes,
                source=source,
                generator=info.generator,
                scrub=info.scrub,
                build=info.build,
                created_at=lab.clock(),
            )
        )

    known = set(lab.store.hashes(ArtifactKind.DATASET))
    record = lab.store.publish(stage, ArtifactKind.DATASET, commit)
    if record.hash not in known:
        lab.emit(DatasetAdded(dataset=record.hash, name=record.name, spec=record.spec, rows=record.rows))
    return record
