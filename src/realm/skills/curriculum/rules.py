"""When a level is mastered, and when it is lost again. Pure rules over frozen records.

An evaluation counts for the level whose problems were asked, never for the one that happens to
be current when its score arrives. A level is mastered by passes in a row of different
checkpoints; one that fails starts the row anew. A mastered level that is asked again is lost by
fails in a row of different checkpoints, and one pass brings it back.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from realm.core.errors import ConfigError, UsageError
from realm.core.records import Record
from realm.skills.curriculum.config import REMEMBERED, CurriculumConfig
from realm.skills.skill import HELDOUT_PER_LEVEL, HELDOUT_PER_PRIMITIVE, LevelInfo, LevelPrimitive, Skill


class LevelScore(Record):
    """Right answers at one level, as (correct, total) per primitive."""

    primitives: dict[str, tuple[int, int]]


class SkillState(Record):
    """Where a hero stands in one skill."""

    skill: str
    start_level: int
    """Lowest level that can be tested; those below are too small, and never mastered."""
    mastered_level: int
    """0 until the first level is mastered."""
    training_level: int
    streak: int = 0
    """Passes in a row at the training level."""
    streak_checkpoints: tuple[str, ...] = ()
    """The checkpoints of the streak, oldest first."""
    counted: tuple[str, ...] = ()
    """Newest checkpoints that have counted at the training level, passes and fails."""
    weakness: dict[str, float] = Field(default_factory=dict)
    """Share of wrong answers per primitive, on training problems of the training level."""
    evaluations: int = 0
    """Evaluations that have counted, over all levels."""
    examined: int = 0
    """Sequence of the newest checkpoint that this state has taken in."""
    failed_reviews: dict[int, tuple[str, ...]] = Field(default_factory=dict)
    """Mastered levels that failed when they were asked again: the checkpoints in a row, oldest first."""
    lost: tuple[int, ...] = ()
    """Mastered levels that count as lost, lowest first."""


class Review(Record):
    """What asking a mastered level again meant."""

    level: int
    passed: bool
    fails: int
    """Fails in a row at the level, this one included."""
    change: Literal["lost", "regained"] | None = None
    """None where it stays what it was."""


class Verdict(Record):
    """What one evaluation meant."""

    level: int
    """The level that was tested."""
    passed: bool
    """All thresholds of the level were met."""
    counted: bool
    """It moved the state; a repeated or misplaced evaluation does not."""
    mastered: bool
    """It was the last pass that the level needed."""
    streak: int
    """Passes in a row at the level, this one included."""
    reason: str


def begin(skill: Skill, config: CurriculumConfig) -> SkillState:
    """Return the state before the first evaluation: at the lowest level that can be tested.

    Raises ConfigError for a skill that `why_unusable` says something about.
    """
    start = _first_level(skill, config)
    if start is None:
        raise ConfigError(
            _too_little(skill, config), hint="give it more problems, or take it out of realm.yaml"
        )
    return SkillState(skill=skill.name, start_level=start, mastered_level=0, training_level=start)


def why_unusable(skill: Skill, config: CurriculumConfig) -> str | None:
    """Say why no level of a skill can be mastered; None where one can."""
    return None if _first_level(skill, config) is not None else _too_little(skill, config)


def _first_level(skill: Skill, config: CurriculumConfig) -> int | None:
    numbers = skill.level_numbers()
    if not numbers or numbers[0] < 1:  # a mastered level of 0 says that none is
        return None
    return next((n for n in numbers if examinable(config, skill.level(n))), None)


def _too_little(skill: Skill, config: CurriculumConfig) -> str:
    numbers = skill.level_numbers()
    if not numbers:
        return f"{skill.name} has no levels"
    if numbers[0] < 1:
        return f"{skill.name} has a level {numbers[0]}, but levels are numbered from 1 on"
    held = {info.level: sum(p.heldout for p in examined(config, info)) for info in skill.levels()}
    best = max(held, key=lambda level: held[level])
    needed = max(config.minimum_total, HELDOUT_PER_LEVEL)
    each = max(config.minimum_per_primitive, HELDOUT_PER_PRIMITIVE)
    return (
        f"no level of {skill.name} holds back enough problems to test: {needed} are needed, counting "
        f"primitives with {each} or more; level {best} has most, {held[best]}"
    )


def examined(config: CurriculumConfig, info: LevelInfo) -> tuple[LevelPrimitive, ...]:
    """Return the primitives whose score decides a level."""
    return tuple(p for p in info.testable_primitives() if p.heldout >= config.minimum_per_primitive)


def examinable(config: CurriculumConfig, info: LevelInfo) -> bool:
    """Say whether a level has enough held-out problems to be mastered."""
    return info.testable and sum(p.heldout for p in examined(config, info)) >= config.minimum_total


def asked_each(config: CurriculumConfig, info: LevelInfo) -> int:
    """Return the most problems that an evaluation of a level asks of one primitive.

    `problems_per_primitive`; where that makes fewer than `minimum_total` in all, the fewest that make as
    many. So a level with few primitives can be mastered, and one that needs no more is asked no more.
    """
    sizes, missing = sorted(p.heldout for p in examined(config, info)), config.minimum_total
    for left, size in zip(range(len(sizes), 0, -1), sizes, strict=True):
        each = -(-missing // left)
        if each <= size:
            return max(config.problems_per_primitive, each)
        missing -= size
    return config.problems_per_primitive


def mastered_numbers(config: CurriculumConfig, skill: Skill, state: SkillState) -> list[int]:
    """Return the levels that are mastered, lowest first; those in between too small to test never are."""
    between = (n for n in skill.level_numbers() if state.start_level <= n <= state.mastered_level)
    return [n for n in between if examinable(config, skill.level(n))]


def passed(config: CurriculumConfig, level_info: LevelInfo, score: LevelScore) -> bool:
    """Say whether a score meets every threshold of a level. A partial score never does."""
    if not examinable(config, level_info):
        return False
    parts = [score.primitives.get(p.name, (0, 0)) for p in examined(config, level_info)]
    correct, total = sum(part[0] for part in parts), sum(part[1] for part in parts)
    if total < config.minimum_total or any(part[1] < config.minimum_per_primitive for part in parts):
        return False
    if correct / total < config.threshold:
        return False
    return all(right / asked >= config.floor for right, asked in parts)


def after_evaluation(
    config: CurriculumConfig,
    skill: Skill,
    state: SkillState,
    *,
    level: int,
    checkpoint: str,
    score: LevelScore,
) -> tuple[SkillState, Verdict]:
    """Return the state after a checkpoint's score at the level that it was asked about."""
    ok = passed(config, skill.level(level), score)
    refusal = _not_counted(state, level, checkpoint)
    if refusal:
        return state, _verdict(level, ok, reason=refusal)
    state = state.model_copy(
        update={
            "evaluations": state.evaluations + 1,
            "counted": (*state.counted, checkpoint)[-REMEMBERED:],
            "streak": state.streak + 1 if ok else 0,
            "streak_checkpoints": (*state.streak_checkpoints, checkpoint) if ok else (),
        }
    )
    if not ok:
        return state, _verdict(level, ok, counted=True, reason=f"level {level} was not passed")
    if state.streak < config.evaluations:
        reason = f"pass {state.streak} of {config.evaluations} at level {level}"
        return state, _verdict(level, ok, counted=True, streak=state.streak, reason=reason)
    reason = f"level {level} is mastered: {state.streak} passes in a row"
    verdict = _verdict(level, ok, counted=True, mastered=True, streak=state.streak, reason=reason)
    return _advanced(config, skill, state), verdict


def _verdict(
    level: int, ok: bool, *, counted: bool = False, mastered: bool = False, streak: int = 0, reason: str
) -> Verdict:
    return Verdict(level=level, passed=ok, counted=counted, mastered=mastered, streak=streak, reason=reason)


def _not_counted(state: SkillState, level: int, checkpoint: str) -> str:
    if level <= state.mastered_level:
        return f"level {level} is mastered already"
    if level != state.training_level:
        return f"level {level} was tested while level {state.training_level} is trained"
    if checkpoint in state.counted:
        return "this checkpoint has counted at this level already"
    return ""


def _advanced(config: CurriculumConfig, skill: Skill, state: SkillState) -> SkillState:
    """Master the training level and go on to the next one that can be tested, if there is one."""
    mastered = state.training_level
    above = (n for n in skill.level_numbers() if n > mastered and examinable(config, skill.level(n)))
    return state.model_copy(
        update={
            "mastered_level": mastered,
            "training_level": next(above, mastered),
            "streak": 0,
            "streak_checkpoints": (),
            "counted": (),
            "weakness": {},
        }
    )


def after_review(
    config: CurriculumConfig,
    skill: Skill,
    state: SkillState,
    *,
    level: int,
    checkpoint: str,
    score: LevelScore,
) -> tuple[SkillState, Review]:
    """Return the state after a mastered level was asked again.

    A checkpoint counts once. Without `demote` a lost level stays mastered, and only its replay
    grows; with it the hero trains at that level again.
    """
    fails = state.failed_reviews.get(level, ())
    if passed(config, skill.level(level), score):
        change: Literal["regained"] | None = "regained" if level in state.lost else None
        return _reviewed(state, level, (), lost=False), Review(
            level=level, passed=True, fails=0, change=change
        )
    if checkpoint in fails or level > state.mastered_level:
        return state, Review(level=level, passed=False, fails=len(fails))
    fails = (*fails, checkpoint)[-REMEMBERED:]
    lost = level in state.lost or len(fails) >= config.lost_evaluations
    review = Review(
        level=level,
        passed=False,
        fails=len(fails),
        change="lost" if lost and level not in state.lost else None,
    )
    state = _reviewed(state, level, fails, lost=lost)
    return (at_level(config, skill, state, level) if review.change and config.demote else state), review


def _reviewed(state: SkillState, level: int, fails: tuple[str, ...], *, lost: bool) -> SkillState:
    others = {n: found for n, found in state.failed_reviews.items() if n != level}
    kept = {n for n in state.lost if n != level} | ({level} if lost else set())
    return state.model_copy(
        update={
            "failed_reviews": {**others, level: fails} if fails else others,
            "lost": tuple(sorted(kept)),
        }
    )


def placed(config: CurriculumConfig, skill: Skill, state: SkillState, level: int) -> SkillState:
    """Return the state of a hero that is put at a level by hand. UsageError where it cannot be mastered.

    Putting it higher masters nothing; putting it lower forgets what was mastered from there up.
    """
    if not examinable(config, skill.level(level)):
        possible = [str(info.level) for info in skill.levels() if examinable(config, info)]
        raise UsageError(
            f"level {level} of {skill.name} is too small to be mastered",
            hint=f"these can be: {', '.join(possible)}",
        )
    return at_level(config, skill, state, level)


def at_level(config: CurriculumConfig, skill: Skill, state: SkillState, level: int) -> SkillState:
    """Return the state in which a level is trained and nothing from it upwards is mastered."""
    below = [n for n in mastered_numbers(config, skill, state) if n < level]
    return state.model_copy(
        update={
            "mastered_level": max(below, default=0),
            "training_level": level,
            "streak": 0,
            "streak_checkpoints": (),
            "counted": (),
            "weakness": {},
            "failed_reviews": {n: found for n, found in state.failed_reviews.items() if n < level},
            "lost": tuple(n for n in state.lost if n < level),
        }
    )
