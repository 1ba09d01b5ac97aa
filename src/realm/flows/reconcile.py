"""Make disk, ledger and queue agree after a start. Idempotent; deletes nothing unknown."""

from __future__ import annotations

from functools import partial

from realm.core.records import ArtifactKind, Record
from realm.flows.checkpoints import damage, set_aside, tell_set_aside
from realm.flows.context import Lab
from realm.flows.runs import requeue_owed
from realm.jobs.queue import JobState
from realm.ledger.records import CheckpointRecord


class Reconciled(Record):
    """What a start had to put right."""

    quarantined: tuple[str, ...]
    """Artifacts that the ledger does not know."""
    stages_removed: int
    """Unfinished work of processes that are gone."""
    missing: tuple[str, ...]
    """Datasets and collections that the ledger names and the disk does not hold."""
    set_aside: tuple[str, ...]
    """Checkpoints that are gone from the disk or have no valid manifest."""
    restored: tuple[str, ...]
    """Checkpoints that were set aside and are whole again."""
    requeued: tuple[str, ...]
    """Runs that were owed a job."""
    ended: tuple[str, ...]
    """Runs whose job had failed and that were still open."""

    @property
    def clean(self) -> bool:
        return not any(self.model_dump().values())


def reconcile(lab: Lab) -> Reconciled:
    """Put right what a crash left behind. Only the holder of the home's lock may call this.

    A dataset without a run is owed none: its command was refused, or its file still lies in the inbox.
    """
    _finish_deletions(lab)
    set_aside, restored = _check_checkpoints(lab)
    disk = lab.store.reconcile(lab.ledger.knows)
    return Reconciled(
        quarantined=tuple(str(path) for path in disk.quarantined),
        stages_removed=len(disk.stages_removed),
        missing=tuple(_missing(lab)),
        set_aside=set_aside,
        restored=restored,
        requeued=tuple(requeue_owed(lab)),
        ended=tuple(_end_failed(lab)),
    )


def _finish_deletions(lab: Lab) -> None:
    tombstones = lab.ledger.tombstones
    for stone in tombstones.pending():
        lab.store.delete(
            stone.kind, stone.hash, lambda: None, partial(tombstones.finish_delete, stone.kind, stone.hash)
        )


def _check_checkpoints(lab: Lab) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Set aside checkpoints that cannot be whole, and take in again what was restored; return the names."""
    aside: list[tuple[CheckpointRecord, str]] = []
    restored: list[CheckpointRecord] = []
    for hero in lab.config.heroes:
        saved = {each.hash: each for each in lab.ledger.checkpoints.list(lab.campaign, hero)}
        for checkpoint in saved.values():
            found = damage(lab, checkpoint, rehash=bool(checkpoint.damage))
            if found:
                set_aside(lab, checkpoint, found)
                aside += [] if checkpoint.damage else [(checkpoint, found)]
            elif checkpoint.damage:
                lab.ledger.checkpoints.mark_sound(checkpoint.hash)
                restored.append(checkpoint)
    for checkpoint, found in aside:
        latest = lab.ledger.checkpoints.latest(lab.campaign, checkpoint.hero)
        instead = f"the latest is {latest.name}" if latest else "none is left to go on from"
        tell_set_aside(lab, checkpoint, found, instead)
    return tuple(each.name for each, _ in aside), tuple(each.name for each in restored)


def _end_failed(lab: Lab) -> list[str]:
    """End the runs whose jobs failed before the ledger heard of it; return them."""
    failed = {job.id: job for job in lab.queue.list({JobState.FAILED})}
    owed = [run for run in lab.ledger.runs.open() if run.id in failed and run.campaign == lab.campaign]
    for run in owed:
        fence = lab.ledger.fences.take(f"run/{run.id}")
        lab.ledger.runs.end(run.id, "failed", failed[run.id].reason, fence)
    return [run.id for run in owed]


def _missing(lab: Lab) -> list[str]:
    named = [(ArtifactKind.DATASET, dataset.hash) for dataset in lab.ledger.datasets.list()]
    named += [(ArtifactKind.COLLECTION, each.hash) for each in lab.ledger.sources.collections()]
    return [f"{kind.value}/{content_hash}" for kind, content_hash in lab.store.missing(named)]
