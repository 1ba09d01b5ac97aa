"""The training job: train a run in a child, publish what it saves, evaluate it.

Everything is found again in the ledger, so the step may be killed anywhere and run again: it
goes on from the run's last checkpoint, and evaluates only what has no evaluation yet.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

from realm.core.errors import OutOfMemoryError, RealmError
from realm.core.events import (
    CheckpointStaged,
    Event,
    MaskingProven,
    MemoryLowered,
    RunInterrupted,
    RunPredicted,
    RunStarted,
)
from realm.core.records import ArtifactKind, Fence
from realm.core.seeds import seed
from realm.flows.appraisal import appraise_run
from realm.flows.birth import bear, ensure_base
from realm.flows.checkpoints import publish_checkpoint, refuse_foreign, verified_checkpoint
from realm.flows.children import Supervisor, persist
from realm.flows.context import KEPT, Lab
from realm.flows.estimate import check_run
from realm.flows.plan import PlannedRows, RunPlan
from realm.flows.progress import examine_run
from realm.flows.regression import tell_regression
from realm.flows.runs import DRILL, SPARRING
from realm.flows.sparring import drop_stale, queue_sparring
from realm.flows.watching import RunWatch
from realm.jobs.queue import Request
from realm.jobs.worker import Outcome, StepContext
from realm.ledger.records import CheckpointRecord, RunRecord
from realm.models.adapters import read_base
from realm.training.job import RowsFile, TrainJob
from realm.training.launcher import LAUNCHERS
from realm.training.parameter import PARAMETERS, Parameters

MEMORY_RETRIES = 2
"""How often a run is started again with smaller packs after memory ran out."""


async def train_step(supervisor: Supervisor, context: StepContext) -> Outcome:
    """Carry one training job to its end, or to the pause or stop that was asked for."""
    run = supervisor.lab.ledger.runs.get(context.job.payload["run"])
    lab = supervisor.lab.with_hero(run.hero)
    supervisor = Supervisor(lab, supervisor.launcher)
    fence = lab.ledger.fences.take(f"run/{run.id}")
    outcome = Outcome(state="stopped" if run.outcome == "stopped" else "done", reason=run.reason)
    if run.outcome is None:
        packs = Packs(lab, run.id)
        try:
            outcome = await packs.fitting(
                lambda: persist(
                    lambda: _train(supervisor, run.id, fence, context.request, packs),
                    lambda: lab.ledger.checkpoints.latest_of_run(run.id),
                    lab.config.worker.child_deaths,
                )
            )
        except RealmError as error:
            lab.ledger.runs.end(run.id, "failed", str(error), fence)
            raise
        if outcome.state == "paused":
            return outcome
        lab.ledger.runs.end(run.id, outcome.state, outcome.reason, fence)
    await examine_run(supervisor, run.id, fence)
    appraise_run(lab, run.id)
    tell_regression(lab)
    drop_stale(lab)
    if lab.config.sparring.automatic and RunPlan.of(run).source != SPARRING and lab.hero.skills:
        queue_sparring(lab)
    return outcome


class Packs:
    """How large the packs of a run may be, after memory ran out with larger ones.

    Packs are of one rank: where several share a step, none ever holds more than its part.
    """

    def __init__(self, lab: Lab, run: str) -> None:
        self.tokens_at_once: int | None = None
        self._lab = lab
        self._run = run
        rules = RunPlan.of(lab.ledger.runs.get(run)).recipe.rules
        ranks = LAUNCHERS.build(rules.launcher).processes
        self._rank_rows = -(-rules.batch_rows // ranks)
        self._rank_tokens = rules.memory.tokens_at_once or self._rank_rows * rules.max_tokens

    def learn(self, proven: MaskingProven) -> None:
        """Take what a rank holds of a step from the rows that were proven."""
        mean = -(-proven.tokens * self._rank_rows // max(1, proven.rows))
        self._rank_tokens = min(self._rank_tokens, mean)

    async def fitting(self, attempt: Callable[[], Awaitable[Outcome]]) -> Outcome:
        """Try again with packs of half the size, at most twice; the steps stay the same."""
        for _ in range(MEMORY_RETRIES):
            try:
                return await attempt()
            except OutOfMemoryError as error:
                self.tokens_at_once = max(2, (self.tokens_at_once or self._rank_tokens) // 2)
                lowered = MemoryLowered(run=self._run, tokens_at_once=self.tokens_at_once, cause=error.what)
                self._lab.emit(lowered)
        return await attempt()


async def _train(
    supervisor: Supervisor, run_id: str, fence: Fence, request: Callable[[], Request], packs: Packs
) -> Outcome:
    lab = supervisor.lab
    run = lab.ledger.runs.get(run_id)
    plan = RunPlan.of(run)
    await ensure_base(supervisor)
    if run.start is None and plan.begins_anew:
        start = await bear(supervisor)
    else:
        start = _start(lab, run)
    began = run.started_at or lab.clock()
    lab.ledger.runs.update(run.id, fence=fence, started_at=began, start=run.start or start.hash)
    run = lab.ledger.runs.get(run_id)
    interrupted: list[RunInterrupted] = []
    heard = False

    def asked() -> Request:
        # A child that has told nothing may not listen yet, and SIGTERM would kill it.
        return request() if heard else Request.NONE

    def on_event(event: Event) -> None:
        nonlocal heard
        heard = True
        if isinstance(event, CheckpointStaged):
            record = publish_checkpoint(lab, event, run=run.id, fence=fence)
            lab.ledger.runs.update(run.id, fence=fence, step=record.step)
            watch.saved(record)
        elif isinstance(event, RunStarted):
            lab.ledger.runs.update(run.id, fence=fence, steps_total=event.steps_total)
        elif isinstance(event, MaskingProven):
            packs.learn(event)
        elif isinstance(event, RunInterrupted):
            interrupted.append(event)
        watch.take(event)
        if isinstance(event, KEPT):
            lab.emit(event)
        else:
            lab.show(event)

    job = _job(lab, run, plan, start).model_copy(update={"tokens_at_once": packs.tokens_at_once})
    if plan.source != DRILL:  # drills are small, and alike
        told = await asyncio.to_thread(check_run, lab, job)
        lab.emit(RunPredicted(run=run.id, **told.model_dump()))
    launched = LAUNCHERS.build(job.recipe.rules.launcher)
    with RunWatch(supervisor, run) as watch:
        await supervisor.follow(
            launched.entry, job, run.id, on_event=on_event, request=asked, tick=watch.tick
        )
        await watch.finished()
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


def _job(lab: Lab, run: RunRecord, plan: RunPlan, start: CheckpointRecord) -> TrainJob:
    origin = lab.ledger.checkpoints.get(run.start) if run.start is not None else start
    folder = Path(verified_checkpoint(lab, start))
    verified = str(folder) if origin.hash == start.hash else verified_checkpoint(lab, origin)
    parameters = PARAMETERS.build(plan.recipe.rules.parameters)
    base = _base(parameters, Path(verified), origin)
    refuse_foreign(lab, parameters.frozen, base)
    return TrainJob(
        run=run.id,
        seed=seed("run", lab.campaign, lab.hero_name, lab.hero.seed, run.dataset),
        start=str(folder),
        origin=verified,
        base=base,
        rows=tuple(_rows_file(lab, source) for source in plan.rows),
        validation=tuple(_rows_file(lab, source) for source in plan.validation),
        recipe=plan.recipe,
        stages=str(lab.home.stages),
        events=str(lab.home.events(run.id)),
        save_now=str(lab.home.save_now(run.id)),
        cache=str(lab.home.cache),
    )


def _rows_file(lab: Lab, source: PlannedRows) -> RowsFile:
    folder = lab.store.verified(ArtifactKind.DATASET, source.dataset)
    return RowsFile(path=str(folder / "rows.jsonl"), name=source.name, weight=source.weight)


def _base(parameters: Parameters, folder: Path, origin: CheckpointRecord) -> str:
    """Return what an adapter of this run belongs to: the same base where it goes on with one."""
    below = read_base(folder)
    return below.base if below is not None and parameters.continues(folder) else origin.hash
