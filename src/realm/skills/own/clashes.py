"""A question of a skill file has one answer, however often and wherever it is asked.

Questions that differ only by what their key leaves out, such as case, are one question: they fall on one
side and are asked once. Two answers to it are refused, because one of them would be wrong by the other. A
question that is counted twice at one level is refused, because the level would seem larger than it is.

Covered: all rows, and of templates all that is counted, up to `MOST_COMPARED` problems of all of them
together; of larger ones a sample, and what the other templates make of some of its questions. Not covered:
a clash of two large templates that their samples miss.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from typing import NamedTuple

from realm.core.errors import ConfigError
from realm.core.text import printable
from realm.skills.own.template import TemplateSpace
from realm.skills.skill import Problem

MOST_COMPARED = 40_000
_LEAST_COMPARED = 40
_MOST_READINGS = 20_000
_SHOWN = 60


class Asked(NamedTuple):
    """A problem and where it stands."""

    place: str
    problem: Problem
    grading: str
    counted: bool
    """It is one of those that the size of its level is counted by."""


class Placed(NamedTuple):
    """A template and where it stands."""

    place: str
    space: TemplateSpace
    grading: str

    def first(self, most: int) -> Iterator[Asked]:
        """Yield up to so many problems. Raises ConfigError where one has no answer."""
        counted = self.space.size().counted
        with self._named():
            for problem in self.space.first(most):
                yield Asked(self.place, problem, self.grading, counted)

    def find(self, prompt: str) -> Asked | None:
        """Return the problem that a user turn asks."""
        with self._named():
            problem = self.space.find(prompt)
        return None if problem is None else Asked(self.place, problem, self.grading, counted=False)

    @contextmanager
    def _named(self) -> Iterator[None]:
        try:
            yield
        except ConfigError as error:
            raise ConfigError(f"{self.place}: {error.what}", hint=error.hint) from None


def refuse_clashes(rows: Iterable[Asked], templates: Sequence[Placed]) -> None:
    """Raise ConfigError, naming both places, where a question has two answers or is counted twice."""
    if not templates:
        return
    most = max(_LEAST_COMPARED, MOST_COMPARED // len(templates))
    first: dict[str, Asked] = {}
    counted: dict[tuple[str, int], Asked] = {}
    for asked in chain(rows, *(template.first(most) for template in templates)):
        key, level = asked.problem.key, asked.problem.level
        _refuse_two_answers(first.setdefault(key, asked), asked)
        if asked.counted and (other := counted.setdefault((key, level), asked)) is not asked:
            raise _clash(other, asked, "counts it again", "let one of them leave it out")
    some = max(1, min(_LEAST_COMPARED, _MOST_READINGS // len(templates) ** 2))
    for template in templates:
        for asked in template.first(some):
            prompt = asked.problem.messages[-1].content
            for other in filter(None, (each.find(prompt) for each in templates)):
                _refuse_two_answers(other, asked)


def _refuse_two_answers(one: Asked, other: Asked) -> None:
    if one.problem.expected != other.problem.expected:
        answers = (
            f"{printable(one.problem.expected, _SHOWN)!r} and {printable(other.problem.expected, _SHOWN)!r}"
        )
        raise _clash(one, other, f"answers it differently: {answers}", "a question has one answer")
    if one.grading != other.grading:
        raise _clash(one, other, "grades it differently", "a question is graded in one way")


def _clash(one: Asked, other: Asked, what: str, hint: str) -> ConfigError:
    prompt = printable(other.problem.messages[-1].content, _SHOWN)
    more = "; case, width and white space make no other question"
    return ConfigError(
        f"{other.place}: {prompt!r} stands in {one.place} too, and this {what}", hint=hint + more
    )
