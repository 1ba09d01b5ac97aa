"""A skill's own grader: 1 for a right answer, 0 for a wrong one."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import SerializeAsAny, ValidationError

from realm.core.config import Config as BaseConfig
from realm.core.errors import DataError
from realm.skills.skill import SKILLS, Problem
from realm.training.reward import Question


class SkillReward:
    """Grade answers as the skill that made the questions does."""

    class Config(BaseConfig):
        """Which skill."""

        kind: Literal["skill"] = "skill"
        skill: Annotated[SerializeAsAny[BaseConfig], SKILLS.part()]
        """As a hero's skill is given: its kind and its settings."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self._skill = SKILLS.build(config.skill)

    def check(self, question: Question) -> None:
        """Raise DataError unless the row is a problem of this skill with its right answer."""
        named = question.example.tags.get("skill", self._skill.name)
        if named != self._skill.name:
            raise DataError(f"a problem of the skill {named!r}, not of {self._skill.name!r}", file="row")
        if not question.expected:
            raise DataError("a problem needs its right answer, as `expected` or as last turn", file="row")
        _problem(question)

    def score(self, question: Question, answer: str) -> float:
        """Return 1 for a right answer, less for one that is wrong or right in part."""
        return self._skill.grade(_problem(question), answer)


def _problem(question: Question) -> Problem:
    try:
        return Problem.of(question.example.tags, question.prompt, question.expected or "")
    except ValidationError as error:
        wrong = ", ".join(sorted({str(problem["loc"][0]) for problem in error.errors()}))
        raise DataError(f"the tags of a skill's problem are missing or wrong: {wrong}", file="row") from None
