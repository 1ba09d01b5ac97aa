"""Make disk, ledger and queue agree after a start. Idempotent; deletes nothing unknown."""

from __future__ import annotations

from functools import partial

from realm.core.records import ArtifactKind, Record
from realm.flows.context import Lab
from realm.flows.runs import requeue_owed


class Reconciled(Record):
    """What a start had to put right."""

    quarantined: tuple[str, ...]
    """Artifacts that the ledger does not know."""
    stages_removed: int
    """Unfinished work of processes that are gone."""
    missing: tuple[str, ...]
    """Artifacts that the ledger names and the disk does not hold."""
    requeued: tuple[str, ...]
    """Runs that were owed a job."""

    @property
    def clean(self) -> bool:
        return not (self.quarantined or self.stages_removed or self.missing or self.requeued)


def reconcile(lab: Lab) -> Reconciled:
    """Put right what a crash left behind. Only the holder of the home's lock may call this.

    A dataset without a run is owed none: its command was refused, or its file still lies in the inbox.
    """
    _finish_deletions(lab)
    disk = lab.store.reconcile(lab.ledger.knows)
    return Reconciled(
        quarantined=tuple(str(path) for path in disk.quarantined),
        stages_removed=len(disk.stages_removed),
        missing=tuple(_missing(lab)),
        requeued=tuple(requeue_owed(lab)),
    )


def _finish_deletions(lab: Lab) -> None:
    tombstones = lab.ledger.tombstones
    for stone in tombstones.pending():
        lab.store.delete(
            stone.kind, stone.hash, lambda: None, partial(tombstones.finish_delete, stone.kind, stone.hash)
        )


def _missing(lab: Lab) -> list[str]:
    named = [
        (ArtifactKind.CHECKPOINT, checkpoint.hash)
        for hero in lab.config.heroes
        for checkpoint in lab.ledger.checkpoints.list(lab.campaign, hero)
    ]
    named += [(ArtifactKind.DATASET, dataset.hash) for dataset in lab.ledger.datasets.list()]
    named += [(ArtifactKind.COLLECTION, each.hash) for each in lab.ledger.sources.collections()]
    return [f"{kind.value}/{content_hash}" for kind, content_hash in lab.store.missing(named)]
