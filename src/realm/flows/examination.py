"""Examine a checkpoint on a suite: one queued job, which answers what the ledger has no evaluation of.

A job is named by the checkpoint and the parts that it asks, so the same examination is never queued twice;
each part is stored as soon as it is whole, so a job that is killed goes on with what is left.
"""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import Field

from realm.core.config import rooted
from realm.core.events import Graded, JobQueued
from realm.core.hashing import hash_json, short
from realm.core.records import Name, Priority, Record, Sha256
from realm.evaluation.score import SuiteScore
from realm.evaluation.suite import Suite
from realm.evaluation.suitefile import (
    ResolvedSuite,
    ResolvedTask,
    SuiteConfig,
    expanded,
    load_suite,
    resolve,
    suite_score,
)
from realm.evaluation.task import Size
from realm.flows.children import Supervisor
from realm.flows.context import Lab
from realm.flows.evaluation import evaluate_missing, stored
from realm.flows.regression import tell_regression
from realm.jobs.queue import Job, JobState, Request
from realm.jobs.worker import Outcome, StepContext
from realm.ledger.records import CheckpointRecord

EVALUATE = "evaluate"
"""The kind of job that lets one checkpoint answer one suite."""


class Examination(Record):
    """One checkpoint and what it is asked."""

    hero: Name
    checkpoint: Sha256
    suite: SuiteConfig
    """With a task for each skill that the hero drills."""
    size: Size
    risk: Annotated[float, Field(ge=0, le=0.2)] | None = None
    """Chance of a wrong verdict at which a part may end early, 0 for none; None asks every problem."""

    @classmethod
    def of(cls, job: Job) -> Self:
        """Read an examination from its job."""
        return cls.model_validate(job.payload)


def plan(
    lab: Lab, checkpoint: CheckpointRecord, suite: str, *, size: Size | None = None, risk: float | None = None
) -> Examination:
    """Plan to ask a suite, by its name, of a checkpoint. Raises NotFoundError, ConfigError."""
    _, hero = lab.config.hero(checkpoint.hero)
    drilled = {name: rooted(skill, lab.home.root) for name, skill in hero.skills.items()}
    config = expanded(load_suite(lab.home.suites, suite), drilled)
    return Examination(
        hero=checkpoint.hero,
        checkpoint=checkpoint.hash,
        suite=config,
        size=size or config.size,
        risk=risk,
    )


class Asked:
    """An examination with its problems, and what the ledger holds of it."""

    def __init__(self, lab: Lab, examination: Examination) -> None:
        """Build the problems. Raises what reading a task's files raises."""
        self.examination = examination
        self.checkpoint = lab.ledger.checkpoints.get(examination.checkpoint)
        self.suite = _chosen(lab, examination)
        self._lab = lab

    @property
    def parts(self) -> tuple[Suite, ...]:
        """Return what is asked, part by part."""
        return self.suite.parts

    @property
    def job_id(self) -> str:
        """Return the name of the job that asks it."""
        # With the settings that no part's id holds, so that a job which failed of them is not asked again.
        content = [self.examination.checkpoint, [[part.id, part.task] for part in self.parts]]
        return f"eval-{self.examination.suite.name[:60]}-{short(hash_json(content))}"

    @property
    def complete(self) -> bool:
        """Say whether the ledger holds an evaluation of every part."""
        return len(stored(self._lab, self.checkpoint, self.parts)) == len(self.parts)

    def score(self) -> SuiteScore:
        """Score the suite from the ledger. Raises KeyError where a part is missing: see `complete`."""
        ledger = self._lab.ledger.evaluations
        answers = {}
        for record in stored(self._lab, self.checkpoint, self.parts):
            graded = [
                Graded(**result.model_dump(exclude={"correct"})) for result in ledger.results(record.id)
            ]
            answers[record.suite] = (record.verdict, graded)
        return suite_score(self.suite, answers)


def _chosen(lab: Lab, examination: Examination) -> ResolvedSuite:
    """Return the suite; of parts that may end early, those that were asked whole before as they are."""
    whole = resolve(examination.suite, examination.size)
    if examination.risk is None:
        return whole
    early = whole.ended_early(examination.risk)
    find = lab.ledger.evaluations.find
    tasks = []
    for task, cut in zip(whole.tasks, early.tasks, strict=True):
        pairs = zip(task.parts, cut.parts, strict=True)
        parts = tuple(a if find(examination.checkpoint, a.id) else b for a, b in pairs)
        tasks.append(ResolvedTask(entry=task.entry, parts=parts))
    return whole.model_copy(update={"tasks": tuple(tasks)})


class Order(Record):
    """A job to be queued once, as long as nothing is missing afterwards."""

    id: str
    kind: str
    payload: dict[str, Any]
    title: str
    complete: bool
    """Nothing is missing."""


def queue(lab: Lab, asked: Asked, priority: Priority) -> Job:
    """Queue an examination; one that failed, was paused or dropped is queued again."""
    order = Order(
        id=asked.job_id,
        kind=EVALUATE,
        payload=asked.examination.model_dump(mode="json"),
        title=f"{asked.examination.suite.name} of {asked.checkpoint.name}",
        complete=asked.complete,
    )
    return queue_once(lab, order, priority)


def queue_once(lab: Lab, order: Order, priority: Priority) -> Job:
    """Queue a job that is named by what it asks; one that failed, was paused or dropped is queued again."""
    known = {job.id: job for job in lab.queue.list()}
    before = known.get(order.id)
    if before is not None and before.state in (JobState.FAILED, JobState.DROPPED):
        return lab.queue.retry(before.id)
    if before is not None and before.state is JobState.PAUSED:
        return lab.queue.resume(before.id)
    job_id = order.id
    if before is not None and before.state is JobState.DONE and not order.complete:
        # It was stopped half way, or the ledger was restored from an older copy.
        job_id = f"{job_id}-{sum(name.startswith(job_id) for name in known) + 1}"
    job = lab.queue.add(job_id, order.kind, order.payload, title=order.title, priority=priority)
    if job.id not in known:
        lab.emit(JobQueued(job=job.id, title=job.title, priority=job.priority.value))
    return job


def queue_configured(lab: Lab, checkpoint: CheckpointRecord) -> list[Job]:
    """Queue the suites that `realm.yaml` names, behind what else waits, where they are not answered yet."""
    found = (Asked(lab, plan(lab, checkpoint, name)) for name in lab.config.evaluation.suites)
    return [queue(lab, asked, Priority.LOW) for asked in found if not asked.complete]


async def examine_step(supervisor: Supervisor, context: StepContext) -> Outcome:
    """Carry one examination to its end, or to the pause or stop that was asked for."""
    examination = Examination.of(context.job)
    lab = supervisor.lab.with_hero(examination.hero)
    asked = Asked(lab, examination)
    done = await evaluate_missing(
        Supervisor(lab, supervisor.launcher),
        context.job.id,
        asked.checkpoint,
        asked.parts,
        lab.ledger.fences.take(f"evaluate/{context.job.id}"),
        context.request,
    )
    if done:
        tell_regression(lab)
        return Outcome(state="done")
    paused = context.request() is Request.PAUSE
    return Outcome(state="paused" if paused else "stopped", reason="what was answered is kept")
