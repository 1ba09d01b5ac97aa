"""The transfer report: what training brought to what was drilled, and to what was not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from realm.core.records import Record
from realm.evaluation.comparison import Pair
from realm.evaluation.suitefile import ResolvedTask
from realm.evaluation.tasks.skill import SkillTask
from realm.evaluation.transfer import Group, GroupKind, TransferReport, transfer
from realm.flows.context import Lab
from realm.flows.examination import Asked
from realm.flows.skills import enabled_skills
from realm.flows.suites import paired
from realm.skills.skill import SKILLS


class Transferred(Record):
    """A base against what became of it."""

    base: str
    trained: str
    """Canonical names of the checkpoints."""
    suites: tuple[str, ...]
    labels: tuple[str, ...]
    """What differs in how they were measured and has to be said."""
    report: TransferReport


def transferred(lab: Lab, asked: Sequence[tuple[Asked, Asked]]) -> Transferred:
    """Compare base and trained on suites that both have answered.

    Raises StateError where one has not, and RefusedError where they were not measured alike.
    """
    groups: list[Group] = []
    labels: dict[str, None] = {}
    for base, trained in asked:
        pairs, said = paired(lab, base, trained)
        labels |= dict.fromkeys(said)
        drilled = _drilled(lab.with_hero(trained.checkpoint.hero))
        for task in trained.suite.tasks:
            name = f"{trained.suite.config.name}/{task.entry.name}"
            groups += _groups(name, task, pairs[task.entry.name], drilled)
    base, trained = asked[0]
    return Transferred(
        base=base.checkpoint.name,
        trained=trained.checkpoint.name,
        suites=tuple(found.suite.config.name for _, found in asked),
        labels=tuple(labels),
        report=transfer(groups),
    )


def _drilled(lab: Lab) -> frozenset[str]:
    return frozenset(lab.skill(name).name for name in enabled_skills(lab))


def _groups(name: str, task: ResolvedTask, pairs: Sequence[Pair], drilled: frozenset[str]) -> Iterator[Group]:
    """Yield the task as a whole, then each of its primitives where it has several."""
    skill = _skill(task)
    kind: GroupKind = "skill" if skill else "benchmark"
    trained = skill in drilled
    yield Group(kind=kind, name=name, trained=trained, pairs=tuple(pairs))
    primitives = dict.fromkeys(pair.primitive for pair in pairs)
    for primitive in primitives if len(primitives) > 1 else ():
        own = tuple(pair for pair in pairs if pair.primitive == primitive)
        yield Group(kind="primitive", name=f"{name}/{primitive}", trained=trained, pairs=own)


def _skill(task: ResolvedTask) -> str | None:
    """Return the name of the skill that a task asks; None for another kind of task."""
    config = task.entry.task
    return SKILLS.build(config.skill).name if isinstance(config, SkillTask.Config) else None
