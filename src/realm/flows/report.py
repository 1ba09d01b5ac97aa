"""Accuracy of each primitive from stored evaluations, weakest first."""

from __future__ import annotations

from realm.core.errors import NotFoundError
from realm.core.events import Interval
from realm.core.records import Record
from realm.evaluation.intervals import pool, wilson
from realm.flows.checkpoints import resolve
from realm.flows.context import Lab
from realm.flows.evaluation import level_suite
from realm.flows.skills import skill_state, usable_skills
from realm.ledger.records import CheckpointRecord, EvaluationRecord


class PrimitiveReport(Record):
    """How a checkpoint does in one primitive."""

    primitive: str
    answers: Interval
    """Over all levels that it was asked at."""
    share: float
    weak: bool
    """The share is below the threshold."""
    certain: bool
    """The whole interval lies on one side of the threshold."""


class SkillReport(Record):
    """How a checkpoint does in one skill."""

    skill: str
    checkpoint: str
    """Canonical name."""
    hero_step: int
    levels: tuple[int, ...]
    """Those with a stored evaluation."""
    threshold: float
    primitives: tuple[PrimitiveReport, ...]
    """Weakest first."""
    weak: tuple[str, ...]
    """Primitives under the threshold."""
    context: tuple[dict[str, str], ...]
    """How the answers were generated; more than one entry where it differs between levels."""


def report(
    lab: Lab, skill: str | None = None, *, model: str | None = None, threshold: float | None = None
) -> list[SkillReport]:
    """Report on one skill or all, for a model or for the newest checkpoint that was evaluated.

    Without a threshold the curriculum's own. Raises NotFoundError where there is no such skill, model or
    evaluation.
    """
    if skill is not None and skill not in lab.hero.skills:
        known = ", ".join(lab.hero.skills) or "none"
        raise NotFoundError(f"{lab.hero_name} has no skill {skill!r}", hint=f"there are: {known}")
    least = lab.config.curriculum.threshold if threshold is None else threshold
    chosen = [resolve(lab, model)] if model else None
    names = [skill] if skill else usable_skills(lab, lab.hero.skills)
    found = [made for name in names if (made := _of_skill(lab, name, chosen, least)) is not None]
    if not found:
        whom = model or lab.hero_name
        raise NotFoundError(
            f"no evaluation of {', '.join(names) or 'any skill'} by {whom} is stored",
            hint="training evaluates what it saves: `realm up`, or name another one with --model",
        )
    return found


def _of_skill(
    lab: Lab, skill: str, chosen: list[CheckpointRecord] | None, least: float
) -> SkillReport | None:
    state = skill_state(lab, skill)
    highest = max(state.training_level, state.mastered_level)
    levels = [n for n in lab.skill(skill).level_numbers() if state.start_level <= n <= highest]
    suites = {level_suite(lab, skill, level).id for level in levels}
    own = chosen or lab.ledger.checkpoints.list(lab.campaign, lab.hero_name)[::-1]
    for checkpoint in own:
        stored = [e for e in lab.ledger.evaluations.list(checkpoint=checkpoint.hash) if e.suite in suites]
        if stored:
            return _report(skill, checkpoint, stored, least)
    return None


def _report(
    skill: str, checkpoint: CheckpointRecord, stored: list[EvaluationRecord], least: float
) -> SkillReport:
    by_primitive: dict[str, list[Interval]] = {}
    for evaluation in stored:
        for name, (correct, total) in evaluation.primitives.items():
            by_primitive.setdefault(name, []).append(wilson(correct, total))
    pooled = {name: pool(parts) for name, parts in by_primitive.items()}
    rows = [_primitive(name, answers, least) for name, answers in pooled.items() if answers.total]
    rows.sort(key=lambda row: (row.share, row.primitive))
    contexts = {tuple(sorted((k, str(v)) for k, v in e.context.items())) for e in stored}
    return SkillReport(
        skill=skill,
        checkpoint=checkpoint.name,
        hero_step=checkpoint.hero_step,
        levels=tuple(sorted({evaluation.level for evaluation in stored})),
        threshold=least,
        primitives=tuple(rows),
        weak=tuple(row.primitive for row in rows if row.weak),
        context=tuple(dict(each) for each in sorted(contexts)),
    )


def _primitive(name: str, answers: Interval, least: float) -> PrimitiveReport:
    share = answers.correct / answers.total
    return PrimitiveReport(
        primitive=name,
        answers=answers,
        share=share,
        weak=share < least,
        certain=answers.high < least or answers.low >= least,
    )
