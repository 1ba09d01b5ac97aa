"""The training job: train a run in a child, publish what it saves, evaluate it.

Everything is found again in the ledger, so the step may be killed anywhere and run again: it
goes on from the run's last checkpoint, and evaluates only what has no evaluation yet.
"""

from __future__ import annotations

from collections.abc import Callable

from realm.core.errors import RealmError
from realm.core.events import CheckpointStaged, Event, RunInterrupted, RunStarted
from realm.core.records import ArtifactKind, Fence
from realm.core.seeds import seed
from realm.flows.birth import ensure_base
from realm.flows.checkpoints import publish_checkpoint, verified_checkpoint
from realm.flows.children import Supervisor, persist
from realm.flows.context import Lab
from realm.flows.progress import examine_run
from realm.jobs.queue import Request
from realm.jobs.worker import Outcome, StepContext
from realm.ledger.records import CheckpointRecord, RunRecord
from realm.training.job import TrainJob
from realm.training.recipe import Recipe


async def train_step(supervisor: Supervisor, context: StepContext) -> Outcome:
    """Carry one training job to its end, or to the pause or stop that was asked for."""
    run = supervisor.lab.ledger.runs.get(context.job.payload["run"])
    lab = supervisor.lab.with_hero(run.hero)
    supervisor = Supervisor(lab, supervisor.launcher)
    fence = lab.ledger.fences.take(f"run/{run.id}")
    outcome = Outcome(state="stopped" if run.outcome == "stopped" else "done", reason=run.reason)
    if run.outcome is None:
        try:
            outcome = await persist(
                lambda: _train(supervisor, run.id, fence, context.request),
                lambda: lab.ledger.checkpoints.latest_of_run(run.id),
                lab.config.worker.child_deaths,
            )
        except RealmError as error:
            lab.ledger.runs.end(run.id, "failed", str(error), fence)
            raise
        if outcome.state == "paused":
            return outcome
        lab.ledger.runs.end(run.id, outcome.state, outcome.reason, fence)
    await examine_run(supervisor, run.id, fence)
    return outcome


async def _train(
    supervisor: Supervisor, run_id: str, fence: Fence, request: Callable[[], Request]
) -> Outcome:
    lab = supervisor.lab
    run = lab.ledger.runs.get(run_id)
    await ensure_base(supervisor)
    start = _start(lab, run)
    lab.ledger.runs.update(run.id, fence=fence, started_at=run.started_at or lab.clock(), start=start.hash)
    interrupted: list[RunInterrupted] = []

    def on_event(event: Event) -> None:
        if isinstance(event, CheckpointStaged):
            record = publish_checkpoint(lab, event, run=run.id, fence=fence)
            lab.ledger.runs.update(run.id, fence=fence, step=record.step)
        elif isinstance(event, RunStarted):
            lab.ledger.runs.update(run.id, fence=fence, steps_total=event.steps_total)
        elif isinstance(event, RunInterrupted):
            interrupted.append(event)
        lab.show(event)

    job = _job(lab, run, start)
    await supervisor.follow("realm.training.child:main", job, run.id, on_event=on_event, request=request)
    if not interrupted:
        return Outcome(state="done")
    if request() is Request.PAUSE:
        return Outcome(state="paused")
    return Outcome(state="stopped", reason=f"stopped at step {interrupted[0].step}")


def _start(lab: Lab, run: RunRecord) -> CheckpointRecord:
    """Return where to go on: the run's own last checkpoint, else where it began, else the latest."""
    own = lab.ledger.checkpoints.latest_of_run(run.id)
    if own is not None:
        return own
    if run.start is not None:
        return lab.ledger.checkpoints.get(run.start)
    latest = lab.ledger.checkpoints.latest(lab.campaign, lab.hero_name)
    assert latest is not None, "a hero has a base before it trains"
    return latest


def _job(lab: Lab, run: RunRecord, start: CheckpointRecord) -> TrainJob:
    recipe = Recipe.model_validate(run.spec["recipe"])
    return TrainJob(
        run=run.id,
        seed=seed("run", lab.campaign, lab.hero_name, lab.hero.seed, run.dataset),
        start=str(verified_checkpoint(lab, start)),
        rows=str(lab.store.verified(ArtifactKind.DATASET, run.dataset) / "rows.jsonl"),
        recipe=recipe,
        stages=str(lab.home.stages),
        events=str(lab.home.events(run.id)),
    )
