"""Ask the gate about a named model, without registering or promoting anything; look up what it decided."""

from __future__ import annotations

from typing import Self

from pydantic import AwareDatetime

from realm.core.errors import NotFoundError, StateError
from realm.core.hashing import hash_json, short
from realm.core.records import Name, Priority, Record, Sha256
from realm.evaluation.gate import Decision
from realm.flows.checkpoints import resolve, verified_checkpoint
from realm.flows.children import Supervisor
from realm.flows.context import Lab
from realm.flows.evaluation import evaluate_missing, unanswered
from realm.flows.examination import Order, queue_once
from realm.flows.promotion import judge, mastered_suites, reigning
from realm.jobs.queue import Job, Request
from realm.jobs.worker import Outcome, StepContext

JUDGE = "judge"
"""The kind of job that lets a checkpoint and the champion answer every mastered level."""


class Judged(Record):
    """What the gate says, or said, of a model."""

    model: str
    """Canonical name of its checkpoint."""
    checkpoint: Sha256
    hero_step: int
    champion: str | None
    """Registered name of the champion that it was held against; None where there was none."""
    decision: Decision
    at: AwareDatetime | None = None
    """When it was decided and stored; None for one that was only asked for."""


class JudgeJob(Record):
    """What a job is told that answers what the gate needs."""

    hero: Name
    checkpoint: Sha256

    @classmethod
    def of(cls, job: Job) -> Self:
        """Read it from its job."""
        return cls.model_validate(job.payload)


class Case:
    """A model before the gate: what it and the champion are asked, and what comes of it."""

    def __init__(self, lab: Lab, model: str) -> None:
        """Find the model. Raises NotFoundError, CorruptError, and StateError for the champion itself."""
        checkpoint = resolve(lab, model)
        if checkpoint.damage:  # it may be restored meanwhile
            verified_checkpoint(lab, checkpoint)
        self._lab = lab.with_hero(checkpoint.hero)
        self.checkpoint = checkpoint
        champion = reigning(self._lab)
        if champion is not None and champion.hash == checkpoint.hash:
            raise StateError(
                f"{checkpoint.name} is the champion of {checkpoint.hero} already",
                hint="`realm gate MODEL --stored` shows why it was promoted",
            )
        self.asked = (checkpoint, champion) if champion else (checkpoint,)
        """The checkpoints that answer: the model's, and the champion's."""
        self.suites = mastered_suites(self._lab)

    @property
    def missing(self) -> int:
        """Return how many problems are yet to be answered."""
        return sum(
            len(suite.problems)
            for checkpoint in self.asked
            for suite in unanswered(self._lab, checkpoint, self.suites)
        )

    def begin(self) -> Job | None:
        """Queue what is missing, before everything that is not as urgent; None where nothing is."""
        if self.missing == 0:
            return None
        content = [[c.hash for c in self.asked], [suite.id for suite in self.suites]]
        payload = JudgeJob(hero=self.checkpoint.hero, checkpoint=self.checkpoint.hash)
        order = Order(
            id=f"gate-{short(hash_json(content))}",
            kind=JUDGE,
            payload=payload.model_dump(mode="json"),
            title=f"gate for {self.checkpoint.name}",
            complete=False,
        )
        return queue_once(self._lab, order, Priority.HIGH)

    def judged(self) -> Judged:
        """Return what the gate says now. Nothing is registered, promoted or stored."""
        lab, checkpoint = self._lab, self.checkpoint
        champion = lab.ledger.models.champion(lab.campaign, lab.hero_name)
        return Judged(
            model=checkpoint.name,
            checkpoint=checkpoint.hash,
            hero_step=checkpoint.hero_step,
            champion=champion.model.name if champion else None,
            decision=judge(lab, checkpoint, self.suites),
        )


async def judge_step(supervisor: Supervisor, context: StepContext) -> Outcome:
    """Let the model and the champion answer what they have not, up to the pause or stop asked for."""
    told = JudgeJob.of(context.job)
    lab = supervisor.lab.with_hero(told.hero)
    case = Case(lab, told.checkpoint)
    fence = lab.ledger.fences.take(f"judge/{context.job.id}")
    for checkpoint in case.asked:
        done = await evaluate_missing(
            Supervisor(lab, supervisor.launcher),
            context.job.id,
            checkpoint,
            case.suites,
            fence,
            context.request,
        )
        if not done:
            paused = context.request() is Request.PAUSE
            return Outcome(state="paused" if paused else "stopped", reason="what was answered is kept")
    return Outcome(state="done")


def stored_decision(lab: Lab, model: str) -> Judged:
    """Return the newest decision that the gate stored about a registered model.

    Raises NotFoundError where the model was never registered or the gate has never decided about it.
    """
    checkpoint = resolve(lab, model)
    models = lab.ledger.models
    names = {
        found.name
        for found in models.list()
        if found.checkpoint == checkpoint.hash and found.hero == checkpoint.hero
    }
    for promotion in models.promotions(checkpoint.campaign, checkpoint.hero):
        if promotion.to_model in names and "checks" in promotion.decision:
            fields = {name: promotion.decision[name] for name in Decision.model_fields}
            return Judged(
                model=checkpoint.name,
                checkpoint=checkpoint.hash,
                hero_step=checkpoint.hero_step,
                champion=promotion.from_model,
                decision=Decision.model_validate(fields),
                at=promotion.at,
            )
    known = ", ".join(found.name for found in models.list() if found.hero == checkpoint.hero) or "none yet"
    raise NotFoundError(
        f"the gate has stored no decision about {checkpoint.name}",
        hint=f"ask it with `realm gate {model}`; registered are: {known}",
    )
