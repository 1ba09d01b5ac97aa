"""Decision cases from a file: one situation, one action, graded by exact match."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Literal

from realm.core.config import Config as BaseConfig
from realm.core.errors import NotFoundError, StateError
from realm.core.hashing import hash_json, short
from realm.core.paths import expanded
from realm.core.records import Message
from realm.evaluation.agents.decisions import Case, decided, read_cases
from realm.evaluation.task import PER_PRIMITIVE, Episode, Result, Size
from realm.skills.skill import Problem

_RULES = "1"
"""Version of the prompt and of how answers are read."""


class Decisions:
    """Ask what to do in situations, and compare the action."""

    class Config(BaseConfig):
        """Where the cases lie."""

        kind: Literal["decisions"] = "decisions"
        path: Path
        """A YAML, JSON or JSON Lines file."""

    turn_tokens = 128

    def __init__(self, config: Config) -> None:
        self.config = config
        self._cases = {case.key: case for case in read_cases(expanded(config.path))}
        content = [case.model_dump(mode="json") for case in self._cases.values()]
        self.version = f"{_RULES}-{short(hash_json(content))}"

    def problems(self, size: Size) -> tuple[Problem, ...]:
        """Return the first cases of each role, in the file's order."""
        counts: Counter[str] = Counter()
        found = []
        for case in self._cases.values():
            counts[case.role] += 1
            if counts[case.role] <= PER_PRIMITIVE[size]:
                found.append(_problem(case))
        return tuple(found)

    def begin(self, problem: Problem) -> Episode:
        """Begin one case. Raises NotFoundError for a problem of another file."""
        if problem.key not in self._cases:
            raise NotFoundError(f"{problem.key} is no case of {self.config.path.name}")
        return _Question(self._cases[problem.key])


class _Question:
    """One turn."""

    def __init__(self, case: Case) -> None:
        self._case = case
        self._answer: str | None = None

    def asks(self) -> tuple[Message, ...] | None:
        return self._case.messages() if self._answer is None else None

    def take(self, answer: str) -> None:
        if self._answer is not None:
            raise StateError("this question was answered")
        self._answer = answer

    def result(self) -> Result:
        if self._answer is None:
            raise StateError("this question was not answered")
        if self._case.is_right(self._answer):
            return Result(score=1, answer=self._answer)
        said = decided(self._answer)
        what = "no action could be read" if said is None else f"{said[:100]!r} was decided"
        return Result(
            score=0, answer=self._answer, notes=(f"{what}, not {' or '.join(self._case.expected)}",)
        )

    def close(self) -> None:
        """Hold nothing."""


def _problem(case: Case) -> Problem:
    return Problem(
        key=case.key, primitive=case.role, level=1, messages=case.messages(), expected=case.solution()
    )
