"""Let a checkpoint answer problems in a child, and keep each evaluation exactly once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial

from realm.core.errors import ChildDiedError
from realm.core.events import AnswersGraded, Event, Graded
from realm.core.hashing import canonical_json
from realm.core.records import Fence
from realm.core.version import VERSION
from realm.evaluation.child import EvaluateJob
from realm.evaluation.comparison import Pair
from realm.evaluation.score import Comparable, comparable, score
from realm.evaluation.suite import Suite, build_suite, probe_suite
from realm.flows.checkpoints import verified_checkpoint
from realm.flows.children import Supervisor, no_request, persist
from realm.flows.config import load_recipe
from realm.flows.context import Lab
from realm.flows.plan import profile_of
from realm.jobs.queue import Request
from realm.ledger.records import CheckpointRecord, EvaluationRecord, NewEvaluation, ProblemResult
from realm.skills.curriculum.rules import asked_each


def level_suite(lab: Lab, skill: str, level: int) -> Suite:
    """Return the held-out problems of one level: the same for every checkpoint."""
    built = lab.skill(skill)
    return build_suite(built, level, asked_each(lab.config.curriculum, built.level(level)))


def weakness_suite(lab: Lab, skill: str, level: int, seed: int) -> Suite:
    """Return training problems of one level, to find weak primitives without held-out data."""
    return probe_suite(lab.skill(skill), level, lab.config.curriculum.probe_per_primitive, seed=seed)


class Answers:
    """A suite's graded answers, and how they were generated."""

    def __init__(self) -> None:
        self.graded: list[Graded] = []
        self.context: dict[str, str] = {}
        self.verdict = ""
        """Why the rest was not asked; empty where all was."""
        self.complete = False
        """Nothing more will be asked."""
        self._loss = 0.0
        self._loss_tokens = 0

    def add(self, event: AnswersGraded) -> None:
        """Take one batch in."""
        self.context = event.context
        self.verdict = event.verdict
        self.complete = bool(event.verdict) or event.done == event.total
        self._loss += event.loss
        self._loss_tokens += event.loss_tokens
        self.graded += event.results

    @property
    def loss(self) -> float | None:
        """Mean cross-entropy of the right answers, nats per token; None while nothing was asked."""
        return self._loss / self._loss_tokens if self._loss_tokens else None


OnAnswers = Callable[[str, Answers], None]
"""Takes a suite's id and its answers, once they are complete."""


async def answer(
    supervisor: Supervisor, run: str, checkpoint: CheckpointRecord, suites: Sequence[Suite]
) -> dict[str, Answers]:
    """Return a checkpoint's graded answers, by suite. Every problem is answered."""
    found: dict[str, Answers] = {}

    async def attempt() -> None:
        await _answer(supervisor, run, checkpoint, suites, found.__setitem__)

    await persist(attempt, lambda: checkpoint.hash, supervisor.lab.config.worker.child_deaths)
    return found


async def _answer(
    supervisor: Supervisor,
    run: str,
    checkpoint: CheckpointRecord,
    suites: Sequence[Suite],
    on_complete: OnAnswers,
    request: Callable[[], Request] = no_request,
) -> None:
    """Let one child answer suites, handing each over as soon as it is complete."""
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
    found = {suite.id: Answers() for suite in suites}

    def on_event(event: Event) -> None:
        if isinstance(event, AnswersGraded):
            answers = found[event.suite]
            answers.add(event)
            if answers.complete:
                on_complete(event.suite, answers)
        lab.show(event)

    await supervisor.follow("realm.evaluation.child:main", job, run, on_event=on_event, request=request)


async def evaluate(
    supervisor: Supervisor, run: str, checkpoint: CheckpointRecord, suites: Sequence[Suite], fence: Fence
) -> list[EvaluationRecord]:
    """Return the evaluations of a checkpoint on suites, answering only those that are missing."""
    await evaluate_missing(supervisor, run, checkpoint, suites, fence)
    return stored(supervisor.lab, checkpoint, suites)


async def evaluate_missing(
    supervisor: Supervisor,
    run: str,
    checkpoint: CheckpointRecord,
    suites: Sequence[Suite],
    fence: Fence,
    request: Callable[[], Request] = no_request,
) -> bool:
    """Answer the suites that a checkpoint has no evaluation of, and store each as soon as it is whole.

    A child that dies is started again for what is left. Returns False where a pause or a stop was asked
    for before all was answered.
    """
    lab = supervisor.lab

    async def attempt() -> bool:
        missing = unanswered(lab, checkpoint, suites)
        if missing:
            keep = partial(_store, lab, checkpoint, {suite.id: suite for suite in missing}, fence)
            try:
                await _answer(supervisor, run, checkpoint, missing, keep, request)
            except ChildDiedError:
                if request() is Request.NONE:
                    raise
        return not unanswered(lab, checkpoint, suites)

    return await persist(
        attempt, lambda: len(unanswered(lab, checkpoint, suites)), lab.config.worker.child_deaths
    )


def stored(lab: Lab, checkpoint: CheckpointRecord, suites: Sequence[Suite]) -> list[EvaluationRecord]:
    """Return the evaluations that the ledger has of a checkpoint on suites."""
    found = [lab.ledger.evaluations.find(checkpoint.hash, suite.id) for suite in suites]
    return [evaluation for evaluation in found if evaluation is not None]


def pairs_of(lab: Lab, before: str, after: str, suites: Iterable[str]) -> list[Pair]:
    """Return what two checkpoints (full hashes) made of each problem that both were asked."""
    return [
        Pair(
            part=pair.suite,
            primitive=pair.primitive,
            before=pair.a,
            after=pair.b,
            before_confidence=pair.a_confidence,
            after_confidence=pair.b_confidence,
        )
        for pair in lab.ledger.evaluations.scored_pairs(before, after, suites)
    ]


def measured_alike(lab: Lab, before: str, after: str, suites: Iterable[str]) -> Comparable:
    """Say whether what two checkpoints (full hashes) answered may be compared.

    Not where one was ended early. Suites that only one has answered are passed over.
    """
    find = lab.ledger.evaluations.find
    against: dict[str, None] = {}
    labels: dict[str, None] = {}
    for suite in suites:
        one, other = find(before, suite), find(after, suite)
        if one is None or other is None:
            continue
        found = comparable(one.context, other.context, (one.suite, other.suite))
        early = [f"{record.suite}: {record.verdict}" for record in (one, other) if record.verdict]
        against |= dict.fromkeys((*found.against, *early))
        labels |= dict.fromkeys(found.labels)
    return Comparable(against=tuple(against), labels=tuple(labels))


def unanswered(lab: Lab, checkpoint: CheckpointRecord, suites: Sequence[Suite]) -> list[Suite]:
    """Return the suites of which the ledger has no evaluation of a checkpoint."""
    return [suite for suite in suites if lab.ledger.evaluations.find(checkpoint.hash, suite.id) is None]


def _store(
    lab: Lab,
    checkpoint: CheckpointRecord,
    suites: dict[str, Suite],
    fence: Fence,
    suite_id: str,
    found: Answers,
) -> None:
    suite = suites[suite_id]
    score(suite, found.graded)  # refuses a part of an evaluation: what is stored is final
    results = [ProblemResult(correct=graded.correct, **graded.model_dump()) for graded in found.graded]
    new = NewEvaluation(
        checkpoint=checkpoint.hash,
        hero_step=checkpoint.hero_step,
        suite=suite.id,
        kind=suite.kind,
        skill=suite.skill,
        level=suite.level,
        problems=len(suite.problems),
        verdict=found.verdict,
        loss=found.loss,
        context={"profile": _profile(lab, checkpoint), **found.context, "code_version": VERSION},
    )
    lab.ledger.evaluations.add(new, results, fence)


def _profile(lab: Lab, checkpoint: CheckpointRecord) -> str:
    """Name the manner that a checkpoint answers in, with the options that are set."""
    options = profile_of(lab, checkpoint).model_dump(mode="json")
    kind = str(options.pop("kind"))
    return f"{kind} {canonical_json(options)}" if options else kind
