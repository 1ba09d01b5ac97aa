"""Problems that are all at hand."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property

from realm.core import seeds
from realm.skills.own.keys import side_of
from realm.skills.own.skill import Size
from realm.skills.skill import Problem, Side
from realm.skills.split import shuffled


class RowSpace:
    """A list of problems; `whole` says that there are no others."""

    def __init__(self, problems: Sequence[Problem], share: float, *, whole: bool = True) -> None:
        self._sides: dict[Side, list[Problem]] = {"train": [], "heldout": []}
        for problem in problems:
            self._sides[side_of(problem.key, share)].append(problem)
        self._whole = whole

    def size(self) -> Size:
        """Count the problems."""
        heldout = len(self._sides["heldout"])
        return Size(len(self._sides["train"]) + heldout, heldout, counted=self._whole)

    def draws(self, seed: int) -> Iterator[Problem]:
        """Draw training problems: all of them in random order, then all again in another."""
        problems, index = self._sides["train"], 0
        while problems:
            for at in shuffled(len(problems), seeds.rng("own/rows", seed, index)):
                yield problems[at]
            index += 1

    def visit(self, side: Side, seed: int) -> Iterator[Problem]:
        """Visit the problems of one side in random order."""
        problems = self._sides[side]
        return (problems[at] for at in shuffled(len(problems), seeds.rng("own/visit", seed)))

    def find(self, prompt: str) -> Problem | None:
        """Return the problem that a user turn asks, in its very words."""
        return self._by_prompt.get(prompt.strip())

    @cached_property
    def _by_prompt(self) -> dict[str, Problem]:
        problems = [*self._sides["train"], *self._sides["heldout"]]
        return {problem.messages[-1].content.strip(): problem for problem in problems}
