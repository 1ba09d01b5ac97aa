"""The training job: train a run in a child, publish what it saves, evaluate it.

Everything is found again in the ledger, so the step may be killed anywhere and run again: it
goes on from the run's last checkpoint, and evaluates only what has no evaluation yet.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

from realm.core.errors import ChildDiedError, CorruptError, OutOfMemoryError, RealmError
from realm.core.events import (
    CheckpointStaged,
    Event,
    MaskingProven,
    MemoryLowered,
    RunFinished,
    RunInterrupted,
    RunPredicted,
    RunStarted,
)
from realm.core.records import ArtifactKind, Fence
from realm.core.seeds import seed
from realm.flows.appraisal import appraise_run
from realm.flows.birth import bear, ensure_base
from realm.flows.checkpoints import (
    damage,
    publish_checkpoint,
    refuse_foreign,
    set_aside,
    tell_set_aside,
    verified_checkpoint,
)
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
from realm.jobs.worker import Outcome, StepContext, recorded
from realm.ledger.records import CheckpointRecord, RunOutcome, RunRecord
from realm.models.adapters import read_base
from realm.training.job import RowsFile, TrainJob
from realm.training.launcher import LAUNCHERS
from realm.training.parameter import PARAMETERS, Parameters

log = logging.getLogger(__name__)

MEMORY_RETRIES = 2
"""How often a run is started again with smaller packs after memory ran out, in all its attempts."""


async def train_step(supervisor: Supervisor, context: StepContext) -> Outcome:
    """Carry one training job to its end, or to the pause or stop that was asked for."""
    run = supervisor.lab.ledger.runs.get(context.job.payload["run"])
    if run.outcome == "failed":  # a kill came between the two records of its end
        raise RealmError(run.reason)
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
            await _end(lab, run.id, "failed", str(error), fence)
            raise
        if outcome.state == "paused":
            return outcome
        await _end(lab, run.id, outcome.state, outcome.reason, fence)
    await examine_run(supervisor, run.id, fence)
    appraise_run(lab, run.id)
    tell_regression(lab)
    drop_stale(lab)
    if lab.config.sparring.automatic and RunPlan.of(run).source != SPARRING and lab.hero.skills:
        queue_sparring(lab)
    return outcome


async def _end(lab: Lab, run: str, outcome: RunOutcome, reason: str, fence: Fence) -> None:
    """End a run, as soon as a full disk takes the record."""
    write = partial(lab.ledger.runs.end, run, outcome, reason, fence)
    await recorded(write, f"{run} ended ({outcome})")


class Packs:
    """How large the packs of a run may be, after memory ran out with larger ones.

    What the ledger holds of earlier attempts counts: neither a pause nor a retry makes a run forget it.

    Packs are of one rank: where several share a step, none ever holds more than its part.
    """

    def __init__(self, lab: Lab, run: str) -> None:
        self._lab = lab
        self._run = run
        rules = RunPlan.of(lab.ledger.runs.get(run)).recipe.rules
        ranks = LAUNCHERS.build(rules.launcher).processes
        self._rank_rows = -(-rules.batch_rows // ranks)
        self._rank_tokens = rules.memory.tokens_at_once or self._rank_rows * rules.max_tokens
        lowered = _lowered(lab, run)
        self._retries = max(0, MEMORY_RETRIES - len(lowered))
        self.tokens_at_once = min(lowered[-1].tokens_at_once, self._rank_tokens) if lowered else None

    def learn(self, proven: MaskingProven) -> None:
        """Take what a rank holds of a step from the rows that were proven."""
        mean = -(-proven.tokens * self._rank_rows // max(1, proven.rows))
        self._rank_tokens = min(self._rank_tokens, mean)

    async def fitting(self, attempt: Callable[[], Awaitable[Outcome]]) -> Outcome:
        """Try again with packs of half the size, at most twice a run; the steps stay the same."""
        while self._retries:
            try:
                return await attempt()
            except OutOfMemoryError as error:
                self._retries -= 1
                self.tokens_at_once = max(2, (self.tokens_at_once or self._rank_tokens) // 2)
                lowered = MemoryLowered(run=self._run, tokens_at_once=self.tokens_at_once, cause=error.what)
                self._lab.emit(lowered)
        return await attempt()


def _lowered(lab: Lab, run: str) -> list[MemoryLowered]:
    """Return what was told of a run's packs, oldest first."""
    kept = (event for _, _, event in lab.ledger.events.list(["memory_lowered"]))
    return [event for event in kept if isinstance(event, MemoryLowered) and event.run == run]


async def _train(
    supervisor: Supervisor, run_id: str, fence: Fence, request: Callable[[], Request], packs: Packs
) -> Outcome:
    lab = supervisor.lab
    run = lab.ledger.runs.get(run_id)
    plan = RunPlan.of(run)
    start = await _start(supervisor, run, plan)
    own = start.run == run.id
    run = lab.ledger.runs.update(
        run.id,
        fence=fence,
        started_at=run.started_at or lab.clock(),
        start=run.start if own and run.start else start.hash,
        step=start.step if own else 0,
    )
    interrupted: list[RunInterrupted] = []
    finished = False
    heard = False

    def asked() -> Request:
        # A child that has told nothing may not listen yet, and SIGTERM would kill it.
        return request() if heard else Request.NONE

    def on_event(event: Event) -> None:
        nonlocal heard, finished
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
        elif isinstance(event, RunFinished):
            finished = True
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
    async with RunWatch(supervisor, run) as watch:
        await supervisor.follow(
            launched.entry, job, run.id, on_event=on_event, request=asked, tick=watch.tick
        )
    if finished:
        return Outcome(state="done")
    if not interrupted:
        raise ChildDiedError(
            f"the process of {run.id} ended, and {lab.home.events(run.id)} does not hold how: it was changed",
            hint=f"leave that file alone; `realm queue retry {run.id}` goes on from the last checkpoint",
        )
    if request() is Request.PAUSE:
        return Outcome(state="paused")
    return Outcome(state="stopped", reason=f"stopped at step {interrupted[0].step}")


_Damaged = list[tuple[CheckpointRecord, str]]
"""Checkpoints that were set aside, each with what is wrong with it."""


async def _start(supervisor: Supervisor, run: RunRecord, plan: RunPlan) -> CheckpointRecord:
    """Return where to go on: the run's own last checkpoint, else where it began, else the latest.

    Of these the newest that is intact: damaged ones are set aside, which is told. Raises CorruptError where
    none is. A run that begins anew does so from a hero born for it.
    """
    lab = supervisor.lab
    damaged: _Damaged = []
    found = _intact_own(lab, run, damaged)
    if found is None:
        found = await bear(supervisor) if plan.begins_anew else _intact_latest(lab, damaged)
    for checkpoint, what in damaged:
        tell_set_aside(lab, checkpoint, what, _goes_on(run, found))
    return found or await ensure_base(supervisor)


def _intact_own(lab: Lab, run: RunRecord, damaged: _Damaged) -> CheckpointRecord | None:
    """Return the newest intact checkpoint of a run, else where it began if that is intact."""
    checkpoints = lab.ledger.checkpoints
    while (own := checkpoints.latest_of_run(run.id)) is not None:
        if _is_intact(lab, own, damaged):
            return own
    if run.start is None:
        return None
    origin = checkpoints.get(run.start)
    return origin if not origin.damage and _is_intact(lab, origin, damaged) else None


def _intact_latest(lab: Lab, damaged: _Damaged) -> CheckpointRecord | None:
    while (latest := lab.ledger.checkpoints.latest(lab.campaign, lab.hero_name)) is not None:
        if _is_intact(lab, latest, damaged):
            return latest
    return None


def _is_intact(lab: Lab, checkpoint: CheckpointRecord, damaged: _Damaged) -> bool:
    """Re-hash a checkpoint; a damaged one is set aside and added to `damaged`."""
    what = damage(lab, checkpoint)
    if what:
        set_aside(lab, checkpoint, what)
        damaged.append((checkpoint, what))
    return not what


def _goes_on(run: RunRecord, start: CheckpointRecord | None) -> str:
    if start is None:
        return f"{run.id} has nothing to go on from"
    if start.run == run.id:
        return f"{run.id} goes on from its step {start.step} ({start.name})"
    return f"{run.id} begins at {start.name}"


def _job(lab: Lab, run: RunRecord, plan: RunPlan, start: CheckpointRecord) -> TrainJob:
    origin = lab.ledger.checkpoints.get(run.start) if run.start is not None else start
    folder = lab.store.path(ArtifactKind.CHECKPOINT, start.hash)  # re-hashed a moment ago
    verified = str(folder) if origin.hash == start.hash else _origin(lab, run, origin)
    parameters = PARAMETERS.build(plan.recipe.rules.parameters)
    base = _base(parameters, Path(verified), origin)
    refuse_foreign(lab, parameters.frozen, base)
    return TrainJob(
        run=run.id,
        seed=seed("run", lab.campaign, lab.hero_name, lab.hero.seed, run.dataset),
        start=str(folder),
        back=_back(lab, run, plan, start, verified),
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


def _back(lab: Lab, run: RunRecord, plan: RunPlan, start: CheckpointRecord, origin: str) -> str | None:
    """Return the folder of what a run that was stopped between two regular saves goes back to.

    That is the regular save before, or where the run began, as if nobody had stopped it. None where a run
    goes on from there anyway, or where it is damaged: nobody needs it yet.
    """
    every = plan.recipe.rules.saving.every_steps
    if start.run != run.id or start.step % every == 0:
        return None
    regular = [each for each in lab.ledger.checkpoints.of_run(run.id) if each.step % every == 0]
    try:
        return verified_checkpoint(lab, regular[-1]) if regular else origin
    except CorruptError as error:
        log.warning("%s would go back to step %d: %s", run.id, start.step, error.what)
        return None


def _origin(lab: Lab, run: RunRecord, origin: CheckpointRecord) -> str:
    """Return the folder of what a run began from, which it needs as long as it lasts."""
    try:
        return verified_checkpoint(lab, origin)
    except CorruptError as error:
        raise CorruptError(
            f"{run.id} began from {error.what}",
            hint=f"restore that folder from a copy, then `realm queue retry {run.id}`",
        ) from None


def _rows_file(lab: Lab, source: PlannedRows) -> RowsFile:
    folder = lab.store.verified(ArtifactKind.DATASET, source.dataset)
    return RowsFile(path=str(folder / "rows.jsonl"), name=source.name, weight=source.weight)


def _base(parameters: Parameters, folder: Path, origin: CheckpointRecord) -> str:
    """Return what an adapter of this run belongs to: the same base where it goes on with one."""
    below = read_base(folder)
    return below.base if below is not None and parameters.continues(folder) else origin.hash
