"""Let a checkpoint answer problems in a child, and keep each evaluation exactly once."""

from __future__ import annotations

from collections.abc import Sequence

from realm.core.events import AnswersGraded, Event
from realm.core.records import Fence
from realm.core.version import VERSION
from realm.evaluation.child import EvaluateJob
from realm.evaluation.score import GradedAnswer, score
from realm.evaluation.suite import Suite, build_suite, probe_suite
from realm.flows.checkpoints import verified_checkpoint
from realm.flows.children import Supervisor, persist
from realm.flows.config import load_recipe
from realm.flows.context import Lab
from realm.flows.plan import profile_of
from realm.ledger.records import CheckpointRecord, EvaluationRecord, NewEvaluation, ProblemResult


def level_suite(lab: Lab, skill: str, level: int) -> Suite:
    """Return the held-out problems of one level: the same for every checkpoint."""
    return build_suite(lab.skill(skill), level, lab.config.curriculum.problems_per_primitive)


def weakness_suite(lab: Lab, skill: str, level: int, seed: int) -> Suite:
    """Return training problems of one level, to find weak primitives without held-out data."""
    return probe_suite(lab.skill(skill), level, lab.config.curriculum.probe_per_primitive, seed=seed)


class Answers:
    """A suite's graded answers, and how they were generated."""

    def __init__(self) -> None:
        self.graded: list[GradedAnswer] = []
        self.context: dict[str, str] = {}
        self._loss = 0.0
        self._loss_tokens = 0

    def add(self, event: AnswersGraded) -> None:
        """Take one batch in."""
        self.context = event.context
        self._loss += event.loss
        self._loss_tokens += event.loss_tokens
        self.graded += [
            GradedAnswer(key=key, primitive=primitive, correct=correct, answer=text)
            for key, primitive, correct, text in event.results
        ]

    @property
    def loss(self) -> float | None:
        """Mean cross-entropy of the right answers, nats per token; None while nothing was asked."""
        return self._loss / self._loss_tokens if self._loss_tokens else None


async def answer(
    supervisor: Supervisor, run: str, checkpoint: CheckpointRecord, suites: Sequence[Suite]
) -> dict[str, Answers]:
    """Return a checkpoint's graded answers, by suite. Every problem is answered."""
    lab = supervisor.lab
    job = EvaluateJob(
        run=run,
        checkpoint=checkpoint.hash,
        folder=verified_checkpoint(lab, checkpoint),
        suites=tuple(suites),
        events=str(lab.home.events(run)),
        threads=load_recipe(lab.home, lab.hero.recipe).recipe.rules.threads,
        profile=profile_of(lab, checkpoint),
    )
    return await persist(
        lambda: _answer_once(supervisor, job), lambda: checkpoint.hash, lab.config.worker.child_deaths
    )


async def _answer_once(supervisor: Supervisor, job: EvaluateJob) -> dict[str, Answers]:
    found = {suite.id: Answers() for suite in job.suites}

    def on_event(event: Event) -> None:
        if isinstance(event, AnswersGraded):
            found[event.suite].add(event)
        supervisor.lab.show(event)

    await supervisor.follow("realm.evaluation.child:main", job, job.run, on_event=on_event)
    return found


async def evaluate(
    supervisor: Supervisor, run: str, checkpoint: CheckpointRecord, suites: Sequence[Suite], fence: Fence
) -> list[EvaluationRecord]:
    """Return the evaluations of a checkpoint on suites, answering only those that are missing."""
    ledger = supervisor.lab.ledger
    missing = [suite for suite in suites if ledger.evaluations.find(checkpoint.hash, suite.id) is None]
    if missing:
        answers = await answer(supervisor, run, checkpoint, missing)
        for suite in missing:
            found = answers[suite.id]
            score(suite, found.graded)  # refuses a part of an evaluation: what is stored is final
            results = [ProblemResult.model_validate(graded.model_dump()) for graded in found.graded]
            ledger.evaluations.add(_evaluation(checkpoint, suite, found), results, fence)
    stored = [ledger.evaluations.find(checkpoint.hash, suite.id) for suite in suites]
    return [evaluation for evaluation in stored if evaluation is not None]


def _evaluation(checkpoint: CheckpointRecord, suite: Suite, found: Answers) -> NewEvaluation:
    return NewEvaluation(
        checkpoint=checkpoint.hash,
        hero_step=checkpoint.hero_step,
        suite=suite.id,
        skill=suite.skill,
        level=suite.level,
        loss=found.loss,
        context={**found.context, "sampling": "greedy", "code_version": VERSION},
    )
