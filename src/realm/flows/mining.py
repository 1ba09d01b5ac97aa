"""Mine a dataset: find the rows that a checkpoint finds hard, and make them a dataset of their own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from realm.core.errors import DataError
from realm.core.events import Event, RowsMeasured
from realm.core.hashing import hash_json, short
from realm.core.records import ArtifactKind, Example, Record, Sha256
from realm.corpus.dataset import DatasetInfo, read_examples, write_examples
from realm.evaluation.mining import MineJob, MiningConfig, hardest
from realm.flows.checkpoints import resolve, verified_checkpoint
from realm.flows.children import Supervisor, persist
from realm.flows.config import load_recipe
from realm.flows.context import Lab
from realm.flows.datasets import publish_dataset
from realm.flows.plan import find_dataset, profile_of
from realm.flows.runs import MINE
from realm.jobs.queue import Job
from realm.jobs.worker import Outcome, StepContext
from realm.ledger.records import CheckpointRecord, DatasetRecord

SOURCE = "mined:"
"""Begins the source of a mined dataset; the hash of the one it was mined from follows."""


class MineRequest(Record):
    """What one mining is asked to do."""

    checkpoint: Sha256
    dataset: Sha256
    config: MiningConfig


def queue_mining(lab: Lab, dataset: str, model: str | None, config: MiningConfig) -> Job:
    """Queue the mining of a dataset; asked for twice it is one job. Raises NotFoundError."""
    checkpoint = resolve(lab, model or f"{lab.hero_name}@latest")
    found = find_dataset(lab, dataset)
    request = MineRequest(checkpoint=checkpoint.hash, dataset=found.hash, config=config)
    return lab.queue.add(
        f"mine-{short(hash_json(request.model_dump(mode='json')))}",
        MINE,
        request.model_dump(mode="json"),
        title=f"mine {found.name} with {checkpoint.name}",
    )


def mined(lab: Lab, job: Job) -> DatasetRecord | None:
    """Return what a mining has found, None while it has not ended."""
    request = MineRequest.model_validate(job.payload)
    for record in lab.ledger.datasets.list():
        generator = record.generator or {}
        if record.source == f"{SOURCE}{request.dataset}" and generator.get("params") == _params(request):
            return record
    return None


async def mine_step(supervisor: Supervisor, context: StepContext) -> Outcome:
    """Carry one mining out."""
    lab, request = supervisor.lab, MineRequest.model_validate(context.job.payload)
    checkpoint = lab.ledger.checkpoints.get(request.checkpoint)
    source = lab.ledger.datasets.get(request.dataset)
    rows = lab.store.verified(ArtifactKind.DATASET, source.hash) / "rows.jsonl"
    losses = await _measured(supervisor, context.job.id, checkpoint, source, rows)
    chosen = set(hardest(losses, request.config))
    if not chosen:
        raise DataError(
            f"no row to take of {len(losses)} chats", file=source.name, hint="raise --share, or lower --noise"
        )
    record = _publish(lab, request, source, rows, chosen)
    return Outcome(state="done", reason=f"{record.rows} hard rows of {source.rows}: {record.name}")


async def _measured(
    supervisor: Supervisor, job_id: str, checkpoint: CheckpointRecord, source: DatasetRecord, rows: Path
) -> list[tuple[int, float]]:
    lab = supervisor.lab
    job = MineJob(
        run=job_id,
        checkpoint=checkpoint.hash,
        folder=verified_checkpoint(lab, checkpoint),
        rows=str(rows),
        total=source.rows,
        events=str(lab.home.events(job_id)),
        threads=load_recipe(lab.home, lab.hero.recipe).recipe.rules.threads,
        profile=profile_of(lab, checkpoint),
    )

    async def attempt() -> list[tuple[int, float]]:
        found: list[tuple[int, float]] = []

        def on_event(event: Event) -> None:
            if isinstance(event, RowsMeasured):
                found.extend(event.losses)
            lab.show(event)

        await supervisor.follow("realm.evaluation.mining:main", job, job.run, on_event=on_event)
        return found

    return await persist(attempt, lambda: checkpoint.hash, lab.config.worker.child_deaths)


def _params(request: MineRequest) -> dict[str, object]:
    return {"checkpoint": request.checkpoint, **request.config.model_dump(mode="json")}


def _publish(
    lab: Lab, request: MineRequest, source: DatasetRecord, rows: Path, chosen: set[int]
) -> DatasetRecord:
    generator = {
        "generator_id": "mining",
        "generator_version": "1",
        "example_count": len(chosen),
        "params": _params(request),
    }

    def hard() -> Iterator[Example]:
        yield from (row for index, row in enumerate(read_examples(rows)) if index in chosen)

    def write(stage: Path) -> DatasetInfo:
        # What was scrubbed, and under which licences it was built, holds for a part of it too.
        return write_examples(
            hard(),
            stage,
            name=f"{source.name.removesuffix('.jsonl')}-hard",
            spec=source.spec,
            generator=generator,
            scrub=source.scrub,
            build=source.build,
        )

    return publish_dataset(lab, write, source=f"{SOURCE}{source.hash}")
