"""What one skill's drills are made of: rows per level, and weights of the primitives within a level."""

from __future__ import annotations

from collections import Counter

from realm.skills.curriculum.config import CurriculumConfig
from realm.skills.curriculum.rules import SkillState
from realm.skills.curriculum.strategies import Standing
from realm.skills.skill import Skill


def standing(config: CurriculumConfig, skill: Skill, name: str, state: SkillState) -> Standing:
    """Return what strategies know of a skill; a primitive that nobody measured counts as always wrong."""
    settings = config.of(name)
    primitives = skill.level(state.training_level).primitives
    errors = sum(state.weakness.get(primitive.name, 1.0) for primitive in primitives)
    return Standing(
        skill=name,
        priority=settings.priority,
        weight=settings.weight,
        need=errors / max(1, len(primitives)),
        gained=sum(state.start_level < n <= state.training_level for n in skill.level_numbers()),
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
    """Return rows per level: replay of mastered levels, more of lost ones, the rest here and above.

    Rows sum to `count`; where they do not divide evenly, levels nearer to this one get one more.
    """
    now, numbers = state.training_level, skill.level_numbers()
    below = [n for n in reversed(numbers) if state.start_level <= n <= state.mastered_level and n != now]
    above = [n for n in numbers if n > now][: config.preview_levels]
    lost = [n for n in below if n in state.lost]
    again = Counter(_spread(round(count * config.replay_share), below))
    again.update(_spread(round((count - again.total()) * config.lost_share), lost))
    rest, weight = count - again.total(), config.preview_weight * len(above)
    ahead = _spread(round(rest * weight / (1 + weight)), above)
    rows = {**again, now: rest - sum(ahead.values()), **ahead}
    return {level: number for level, number in sorted(rows.items()) if number}


def _spread(rows: int, levels: list[int]) -> dict[int, int]:
    """Share rows among levels, the first ones getting what is left over."""
    return {level: rows // len(levels) + (i < rows % len(levels)) for i, level in enumerate(levels)}
