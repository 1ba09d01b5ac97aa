"""Held-out problems of a skill: of some of its levels, or of all that can be tested."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, SerializeAsAny

from realm.core.config import Config as BaseConfig
from realm.core.errors import ConfigError
from realm.evaluation.question import Question
from realm.evaluation.suite import ANSWER_TOKENS
from realm.evaluation.task import PER_PRIMITIVE, Size
from realm.skills.skill import SKILLS, Problem

SkillConfig = Annotated[SerializeAsAny[BaseConfig], SKILLS.part()]


class SkillTask:
    """Ask what a skill holds back from training, and let the skill grade."""

    class Config(BaseConfig):
        kind: Literal["skill"] = "skill"
        skill: SkillConfig
        """The skill, by its kind or with its options."""
        levels: tuple[Annotated[int, Field(ge=1)], ...] = ()
        """Levels that are asked; none named means all with testable primitives."""
        rungs: Annotated[int, Field(ge=1)] | None = None
        """At most so many of them, evenly spread from the lowest to the highest."""

    turn_tokens = ANSWER_TOKENS

    def __init__(self, config: Config) -> None:
        self.config = config
        self._skill = SKILLS.build(config.skill)
        self.version = self._skill.version

    def problems(self, size: Size) -> tuple[Problem, ...]:
        """Return held-out problems, level by level. Raises ConfigError where there are none."""
        found = [
            problem for level in self._levels() for problem in self._skill.heldout(level, PER_PRIMITIVE[size])
        ]
        if not found:
            raise ConfigError(
                f"{self._skill.name} has nothing to test at level {self.config.levels or 'any'}",
                hint=f"see `realm skill show {self._skill.name}`",
            )
        return tuple(found)

    def _levels(self) -> list[int]:
        named = sorted(set(self.config.levels))
        found = named or [info.level for info in self._skill.levels() if info.testable_primitives()]
        return _spread(found, self.config.rungs or len(found))

    def begin(self, problem: Problem) -> Question:
        """Begin one problem."""
        return Question(problem.messages, lambda answer: self._skill.grade(problem, answer))


def _spread(levels: list[int], count: int) -> list[int]:
    if count >= len(levels):
        return levels
    if count == 1:
        return levels[-1:]
    return [levels[round(i * (len(levels) - 1) / (count - 1))] for i in range(count)]
