"""Sparring: the newest checkpoint answers training problems, and its mistakes become rows to train on.

A sparring is a job like any other. It belongs to the checkpoint it was made with: once a newer one is saved,
its rows show mistakes that the hero may no longer make, so a run on them that has not begun is dropped.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from realm.core.errors import NotFoundError, StateError
from realm.core.events import Sparred
from realm.core.hashing import hash_json, short
from realm.core.records import Example, Priority, Record
from realm.core.seeds import seed
from realm.corpus.dataset import DatasetInfo, write_examples
from realm.evaluation.suite import Suite, drill_suite
from realm.flows.children import Supervisor
from realm.flows.context import Lab
from realm.flows.control import drop
from realm.flows.datasets import publish_dataset
from realm.flows.drills import drill_of, drill_rows, publish_rows
from realm.flows.evaluation import Answers, answer
from realm.flows.plan import RunPlan
from realm.flows.runs import SPAR, SPARRING, TRAIN, queue_run
from realm.flows.skills import drilled_skills, skill_state
from realm.jobs.queue import Job, JobState
from realm.jobs.worker import Outcome, StepContext
from realm.ledger.records import CheckpointRecord, DatasetRecord
from realm.skills.curriculum import SkillState, mix
from realm.skills.skill import Problem, Skill
from realm.skills.sparring import Mistake, draw, rows

SPEC = "self_correction_v1"


class SparRequest(Record):
    """What one sparring is asked to do."""

    hero: str
    skill: str | None
    """None means every skill of the hero."""
    problems: int
    """Asked of each skill, where there are as many."""
    targeted: bool
    """Only of primitives under the threshold."""


def queue_sparring(
    lab: Lab, skill: str | None = None, *, problems: int | None = None, targeted: bool | None = None
) -> Job:
    """Queue a sparring; asked for twice of one checkpoint it is one job.

    It is done with the checkpoint that is the newest by then.

    Raises NotFoundError for an unknown skill, StateError before the hero has a checkpoint.
    """
    if skill is not None and skill not in lab.hero.skills:
        known = ", ".join(lab.hero.skills) or "none"
        raise NotFoundError(f"{lab.hero_name} has no skill {skill!r}", hint=f"there are: {known}")
    latest = lab.ledger.checkpoints.latest(lab.campaign, lab.hero_name)
    if latest is None:
        raise StateError(f"{lab.hero_name} has no checkpoint yet", hint="train it first: `realm up`")
    config = lab.config.sparring
    request = SparRequest(
        hero=lab.hero_name,
        skill=skill,
        problems=config.problems if problems is None else problems,
        targeted=config.targeted if targeted is None else targeted,
    )
    return lab.queue.add(
        f"spar-{short(hash_json([lab.campaign, latest.hash, request.model_dump()]))}",
        SPAR,
        request.model_dump(),
        title=f"{skill or 'all skills'}: what {lab.hero_name} gets wrong",
        priority=Priority.HIGH,
    )


def to_be_asked(lab: Lab, sparring: Job) -> int:
    """Return how many problems a sparring asks; skills with too few, or without weakness, make it fewer."""
    request = SparRequest.model_validate(sparring.payload)
    skills = 1 if request.skill else len(drilled_skills(lab.with_hero(request.hero)))
    return request.problems * skills


def told_of(lab: Lab, sparring: Job) -> list[Sparred]:
    """Return what a sparring has found, skill by skill."""
    kept = (event for _, _, event in lab.ledger.events.list(["sparred"]))
    return [event for event in kept if isinstance(event, Sparred) and event.job == sparring.id]


def runs_of(lab: Lab, sparring: Job) -> list[Job]:
    """Return the jobs that train on what a sparring has found."""
    datasets = {event.dataset for event in told_of(lab, sparring)}
    runs = {run.id for run in lab.ledger.runs.list() if run.dataset in datasets}
    return [job for job in lab.queue.list() if job.id in runs]


async def spar_step(supervisor: Supervisor, context: StepContext) -> Outcome:
    """Carry one sparring out: ask, make rows of what was wrong, queue a run on them."""
    request = SparRequest.model_validate(context.job.payload)
    supervisor = Supervisor(supervisor.lab.with_hero(request.hero), supervisor.launcher)
    lab = supervisor.lab
    checkpoint = lab.ledger.checkpoints.latest(lab.campaign, lab.hero_name)
    assert checkpoint is not None, "a sparring is queued once there is a checkpoint"
    names = [request.skill] if request.skill else drilled_skills(lab)
    told = [await _spar(supervisor, context.job.id, checkpoint, request, name) for name in names]
    return Outcome(state="done", reason="; ".join(told))


async def _spar(
    supervisor: Supervisor, job: str, checkpoint: CheckpointRecord, request: SparRequest, name: str
) -> str:
    lab, skill = supervisor.lab, supervisor.lab.skill(name)
    draws = seed("sparring", lab.campaign, lab.hero_name, lab.hero.seed, name, checkpoint.hash)
    asked = _problems(lab, name, skill, request, draws)
    if not asked:
        return f"{name}: nothing to ask"
    suites = [
        drill_suite(skill, level, problems, seed=draws) for level, problems in asked.items() if problems
    ]
    answers = await answer(supervisor, job, checkpoint, suites)
    mistakes = list(_mistakes(suites, answers))
    made = list(rows(skill, mistakes, draws=draws))
    dataset = _publish(lab, name, skill, checkpoint, made, draws) if made else None
    if dataset is not None:
        queue_run(
            lab,
            dataset,
            title=dataset.name,
            source=SPARRING,
            priority=Priority.HIGH,
            made_with=checkpoint.hash,
            beside=_drills_beside(lab, name, len(made), draws),
        )
    total = sum(len(problems) for problems in asked.values())
    lab.emit(
        Sparred(
            job=job,
            checkpoint=checkpoint.name,
            skill=name,
            asked=total,
            wrong=len(mistakes),
            rows=len(made),
            dataset=dataset.hash if dataset else None,
            weakest=_weakest(suites, answers),
        )
    )
    return f"{name}: {len(mistakes)} of {total} wrong, {len(made)} rows"


def _drills_beside(lab: Lab, name: str, rows: int, draws: int) -> list[DatasetRecord]:
    count = round(rows * lab.config.sparring.drills_per_row)
    if not count:
        return []
    drill = drill_of(lab, name, count)
    return [publish_rows(lab, drill, draws, drill_rows(lab, drill, draws))]


def _problems(
    lab: Lab, name: str, skill: Skill, request: SparRequest, draws: int
) -> dict[int, tuple[Problem, ...]]:
    """Return what is asked at each level: the training level, and mastered ones as drills repeat them."""
    state, curriculum = skill_state(lab, name), lab.config.curriculum
    weights = weak_primitives(lab, state) if request.targeted else {}
    if request.targeted and state.weakness and not weights:
        return {}
    counts = mix(curriculum.model_copy(update={"preview_levels": 0}), skill, state, request.problems)
    return {level: draw(skill, level, count, weights=weights, draws=draws) for level, count in counts.items()}


def weak_primitives(lab: Lab, state: SkillState) -> dict[str, float]:
    """Return the primitives whose measured share of right training problems is under the threshold.

    The weight of each is its share of wrong answers.
    """
    least = lab.config.sparring.threshold
    return {name: wrong for name, wrong in state.weakness.items() if 1 - wrong < least}


def _mistakes(suites: Sequence[Suite], answers: Mapping[str, Answers]) -> Iterator[Mistake]:
    for suite in suites:
        problems = {problem.key: problem for problem in suite.problems}
        for graded in answers[suite.id].graded:
            if not graded.correct:
                yield Mistake(problem=problems[graded.key], answer=graded.answer)


def _weakest(suites: Sequence[Suite], answers: Mapping[str, Answers]) -> tuple[tuple[str, int, int], ...]:
    """Return (primitive, right, asked), the smallest share first."""
    right: Counter[str] = Counter()
    asked: Counter[str] = Counter()
    for suite in suites:
        for graded in answers[suite.id].graded:
            asked[graded.primitive] += 1
            right[graded.primitive] += graded.correct
    order = sorted(asked, key=lambda name: (right[name] / asked[name], name))
    return tuple((name, right[name], asked[name]) for name in order)


def _publish(
    lab: Lab, name: str, skill: Skill, checkpoint: CheckpointRecord, made: list[Example], draws: int
) -> DatasetRecord:
    generator = {
        "generator_id": f"sparring:{skill.name}",
        "generator_version": skill.version,
        "example_count": len(made),
        "params": {
            "checkpoint": checkpoint.hash,
            "seed": draws,
            "config": lab.hero.skills[name].model_dump(mode="json"),
        },
    }

    def write(stage: Path) -> DatasetInfo:
        return write_examples(
            made, stage, name=f"{name} sparring of {checkpoint.name}", spec=SPEC, generator=generator
        )

    return publish_dataset(lab, write, source=f"sparring:{checkpoint.hash}")


def drop_stale(lab: Lab) -> list[str]:
    """Drop the queued runs on mistakes of a checkpoint that is not the newest any more."""
    latest = lab.ledger.checkpoints.latest(lab.campaign, lab.hero_name)
    dropped = []
    for job in lab.queue.list({JobState.QUEUED}):
        if job.kind != TRAIN:
            continue
        run = lab.ledger.runs.get(job.id)
        made_with = RunPlan.of(run).made_with
        own = (run.campaign, run.hero) == (lab.campaign, lab.hero_name)
        if own and made_with is not None and latest is not None and made_with != latest.hash:
            drop(lab, job.id, f"{latest.name} has been saved since its mistakes were collected")
            dropped.append(job.id)
    return dropped
