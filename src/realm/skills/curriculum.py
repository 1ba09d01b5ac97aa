"""When a level is mastered, and what is drilled meanwhile. Pure rules over frozen records.

An evaluation counts for the level whose problems were asked, never for the one that happens to
be current when its score arrives. A level is mastered by passes in a row of different
checkpoints; one that fails starts the row anew.
"""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from realm.core.errors import ConfigError
from realm.core.records import Record
from realm.skills.skill import LevelInfo, LevelPrimitive, Skill
from realm.skills.threshold import Threshold

_REMEMBERED = 64
"""Newest checkpoints of the training level that are known to have counted."""


class CurriculumConfig(Threshold):
    """What it takes to master a level, and how drills are spread."""

    evaluations: Annotated[int, Field(ge=1, le=_REMEMBERED)] = 3
    """Passes in a row, by different checkpoints, that master a level."""
    problems_per_primitive: Annotated[int, Field(ge=1)] = 40
    """Held-out problems asked of each primitive, where there are as many."""
    minimum_total: Annotated[int, Field(ge=1)] = 100
    """Fewer answers than this at a level are no evaluation."""
    minimum_per_primitive: Annotated[int, Field(ge=1)] = 30
    """Fewer answers than this of a primitive are no evaluation of it."""
    replay_share: Annotated[float, Field(ge=0, lt=1)] = 0.1875
    """Share of drill rows that repeats mastered levels."""
    preview_share: Annotated[float, Field(ge=0, lt=1)] = 0.3
    """Share of drill rows from the levels above, so that few small problems cannot be learnt by heart."""
    preview_levels: Annotated[int, Field(ge=0)] = 2
    """How many levels above the training level are previewed."""
    base_weight: Annotated[float, Field(gt=0)] = 0.1
    """Drill weight of a primitive without errors."""
    error_weight: Annotated[float, Field(ge=0)] = 3.0
    """Drill weight added to a primitive that is always wrong; in proportion below."""
    probe_per_primitive: Annotated[int, Field(ge=1)] = 24
    """Training problems of each primitive asked to measure weakness."""

    @model_validator(mode="after")
    def _reachable(self) -> Self:
        if self.problems_per_primitive < self.minimum_per_primitive:
            raise ValueError("problems_per_primitive is below minimum_per_primitive, so nothing could pass")
        if self.replay_share + self.preview_share >= 1:
            raise ValueError("replay_share and preview_share leave no rows for the training level")
        return self


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

    Raises ConfigError when no level of the skill holds enough problems.
    """
    for info in skill.levels():
        if examinable(config, info):
            return SkillState(
                skill=skill.name, start_level=info.level, mastered_level=0, training_level=info.level
            )
    raise ConfigError(
        f"no level of {skill.name} holds {config.minimum_total} problems to test",
        hint="lower curriculum.minimum_total or minimum_per_primitive, or raise problems_per_primitive",
    )


def examined(config: CurriculumConfig, info: LevelInfo) -> tuple[LevelPrimitive, ...]:
    """Return the primitives whose score decides a level."""
    return tuple(p for p in info.testable_primitives() if p.heldout >= config.minimum_per_primitive)


def examinable(config: CurriculumConfig, info: LevelInfo) -> bool:
    """Say whether a level has enough held-out problems to be mastered."""
    asked = sum(min(p.heldout, config.problems_per_primitive) for p in examined(config, info))
    return info.testable and asked >= config.minimum_total


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
            "counted": (*state.counted, checkpoint)[-_REMEMBERED:],
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
    above = [info.level for info in skill.levels() if info.level > mastered and examinable(config, info)]
    return state.model_copy(
        update={
            "mastered_level": mastered,
            "training_level": min(above, default=mastered),
            "streak": 0,
            "streak_checkpoints": (),
            "counted": (),
            "weakness": {},
        }
    )


def drill_weights(config: CurriculumConfig, skill: Skill, state: SkillState, level: int) -> dict[str, float]:
    """Return each primitive's weight: by measured weakness from the training level up, equal below.

    A primitive that nobody measured counts as always wrong.
    """
    names = [p.name for p in skill.level(level).primitives]
    if level < state.training_level:
        return dict.fromkeys(names, 1.0)
    return {name: config.base_weight + config.error_weight * state.weakness.get(name, 1.0) for name in names}


def mix(config: CurriculumConfig, skill: Skill, state: SkillState, count: int) -> dict[int, int]:
    """Return rows per level: replay of mastered levels, preview of the next ones, the rest at this one.

    Rows sum to `count`; where a share does not divide evenly, levels nearer to this one get one more.
    """
    now, highest = state.training_level, skill.levels()[-1].level
    below = [n for n in range(state.mastered_level, state.start_level - 1, -1) if n != now]
    above = [n for n in range(now + 1, now + 1 + config.preview_levels) if n <= highest]
    rows = {**_spread(count, config.replay_share, below), **_spread(count, config.preview_share, above)}
    rows[now] = count - sum(rows.values())
    return {level: number for level, number in sorted(rows.items()) if number}


def _spread(count: int, share: float, levels: list[int]) -> dict[int, int]:
    rows = round(count * share) if levels else 0
    return {level: rows // len(levels) + (i < rows % len(levels)) for i, level in enumerate(levels)}
