"""Where the hero stands in its curriculum, what comes next, and changes by hand."""

from __future__ import annotations

from collections.abc import Iterator

import yaml

from realm.core.config import read_yaml, validate
from realm.core.errors import NotFoundError, StateError
from realm.core.events import Interval, LevelReviewed, LevelSet
from realm.core.records import Record
from realm.evaluation.intervals import pool, wilson
from realm.flows.config import RealmConfig
from realm.flows.context import Lab
from realm.flows.drills import Drill, next_drills
from realm.flows.evaluation import level_suite
from realm.flows.skills import LeftOut, parted, skill_state, store_skill_state
from realm.ledger.records import EvaluationRecord
from realm.skills.curriculum.config import CurriculumConfig
from realm.skills.curriculum.presets import PRESETS
from realm.skills.curriculum.rules import LevelScore, SkillState, examined, passed, placed
from realm.storage.lock import HomeLock

NEWS = 10
"""How many of the newest changes are shown."""


class SkillStanding(Record):
    """Where the hero stands in one skill, and what it takes to go on."""

    skill: str
    enabled: bool
    priority: int
    weight: float
    mastered_level: int
    """0 while none is."""
    training_level: int
    streak: int
    needed: int
    """Passes in a row that master a level."""
    lost: tuple[int, ...]
    """Mastered levels that failed when they were asked again."""
    weakness: tuple[tuple[str, float | None], ...]
    """Share of errors of each primitive of the training level, highest first; None where not measured."""
    newest: Interval | None
    """Pooled score of the newest evaluation at the training level."""
    missing: tuple[str, ...]
    """What the training level still needs, in words."""
    next_rows: dict[int, int]
    """Rows by level in the next round of drills; empty where the skill gets none."""
    share: float
    """Of all rows of that round."""


class Curriculum(Record):
    """The curriculum of one hero."""

    hero: str
    preset: str
    strategy: str
    skills: tuple[SkillStanding, ...]
    left_out: tuple[LeftOut, ...]
    """Skills of which no level can be mastered."""
    news: tuple[LevelReviewed | LevelSet, ...]
    """Levels that were lost, regained or set by hand, newest first."""


def curriculum(lab: Lab) -> Curriculum:
    """Look at the curriculum. Changes nothing."""
    drills = {drill.skill: drill for drill in next_drills(lab)}
    total = sum(drill.count for drill in drills.values())
    news = [event for _, _, event in lab.ledger.events.list(kinds=["level_reviewed", "level_set"])]
    skills = parted(lab, lab.hero.skills)
    return Curriculum(
        hero=lab.hero_name,
        preset=lab.config.curriculum.preset,
        strategy=lab.config.curriculum.strategy,
        skills=tuple(_standing(lab, name, drills.get(name), total) for name in skills.usable),
        left_out=skills.left_out,
        news=tuple(
            event
            for event in reversed(news)
            if isinstance(event, LevelReviewed | LevelSet) and event.hero == lab.hero_name
        )[:NEWS],
    )


def set_level(lab: Lab, skill: str, level: int, reason: str) -> LevelSet:
    """Put the hero at a level of a skill, and keep who said why in the ledger.

    Raises NotFoundError for an unknown skill or level, UsageError for a level that cannot be mastered,
    StateError where it is there already, HeldError while the lab is up.
    """
    _known(lab, skill)
    with HomeLock(lab.home.root):
        before = skill_state(lab, skill)
        after = placed(lab.config.curriculum, lab.skill(skill), before, level)
        if after.training_level == before.training_level and after.mastered_level == before.mastered_level:
            raise StateError(f"{lab.hero_name} trains {skill} at level {level} already")
        event = LevelSet(
            hero=lab.hero_name,
            skill=skill,
            level=level,
            before=before.training_level,
            mastered_level=after.mastered_level,
            reason=reason,
        )
        # Told first: a change of level that nobody can explain later must not be possible.
        lab.emit(event)
        store_skill_state(lab, skill, after, None)
    return event


def settings_text(
    lab: Lab, general: dict[str, object], skill: str | None, of_skill: dict[str, object]
) -> str:
    """Return the lines of `realm.yaml` that make these settings, after validating the whole config with them.

    The file is its owner's, comments and order included, so it is never written here.
    """
    if skill is not None:
        _known(lab, skill)
    own = lab.config.curriculum.model_dump(mode="json", exclude_unset=True)
    skills = own.get("skills", {})
    if skill is not None and of_skill:
        skills = {**skills, skill: {**skills.get(skill, {}), **of_skill}}
    wanted = {**general, **({"skills": skills} if of_skill else {})}
    whole = {**lab.config.model_dump(mode="json"), "curriculum": {**own, **wanted}}
    validate(RealmConfig, whole, where="these settings")
    text: str = yaml.safe_dump({"curriculum": wanted}, sort_keys=False, allow_unicode=True)
    return text + _winning(lab, general.get("preset"))


def _winning(lab: Lab, preset: object) -> str:
    """Return a comment about settings of the file that would win over a preset."""
    section = read_yaml(lab.home.config).get("curriculum") or {}
    changed = next((found.settings for name, found in PRESETS.items() if name == preset), {})
    winning = [name for name in changed if name in section]
    return f"# these of your settings win over the preset: {', '.join(winning)}\n" if winning else ""


def _known(lab: Lab, skill: str) -> None:
    if skill not in lab.hero.skills:
        known = ", ".join(lab.hero.skills) or "none"
        raise NotFoundError(f"{lab.hero_name} has no skill {skill!r}", hint=f"there are: {known}")


def _standing(lab: Lab, name: str, drill: Drill | None, total: int) -> SkillStanding:
    config, state, settings = lab.config.curriculum, skill_state(lab, name), lab.config.curriculum.of(name)
    primitives = [p.name for p in lab.skill(name).level(state.training_level).primitives]
    weakness = [(primitive, state.weakness.get(primitive)) for primitive in primitives]
    newest = _newest(lab, name, state)
    return SkillStanding(
        skill=name,
        enabled=settings.enabled,
        priority=settings.priority,
        weight=settings.weight,
        mastered_level=state.mastered_level,
        training_level=state.training_level,
        streak=state.streak,
        needed=config.evaluations,
        lost=state.lost,
        weakness=tuple(sorted(weakness, key=lambda each: -1.0 if each[1] is None else -each[1])),
        newest=wilson(newest.correct, newest.total) if newest else None,
        missing=tuple(_missing(config, lab, name, state, newest)),
        next_rows=drill.rows if drill else {},
        share=drill.count / total if drill else 0.0,
    )


def _newest(lab: Lab, skill: str, state: SkillState) -> EvaluationRecord | None:
    """Return the newest evaluation of one of the hero's checkpoints at the training level."""
    suite = level_suite(lab, skill, state.training_level).id
    return lab.ledger.evaluations.newest(lab.campaign, lab.hero_name, suite=suite)


def _missing(
    config: CurriculumConfig, lab: Lab, skill: str, state: SkillState, newest: EvaluationRecord | None
) -> Iterator[str]:
    if not config.of(skill).enabled:
        yield "the skill is switched off in realm.yaml"
    if state.training_level <= state.mastered_level:
        yield "nothing: every level that can be mastered is"
        return
    info = lab.skill(skill).level(state.training_level)
    if newest is None:
        yield f"level {state.training_level} has not been evaluated yet"
    elif not passed(config, info, LevelScore(primitives=newest.primitives)):
        pooled = pool(wilson(*newest.primitives.get(p.name, (0, 0))) for p in examined(config, info))
        share = pooled.correct / max(1, pooled.total)
        if share < config.threshold:
            yield f"{share:.3f} of all answers are right, {config.threshold:.2f} are needed"
        for primitive in examined(config, info):
            right, asked = newest.primitives.get(primitive.name, (0, 0))
            if right < config.floor * asked:
                yield f"{primitive.name}: {right / asked:.3f}, {config.floor:.2f} are needed"
    missing = config.evaluations - state.streak
    yield f"{missing} more pass{'es' if missing != 1 else ''} in a row of {config.evaluations}"
