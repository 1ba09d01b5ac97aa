"""A skill over problems that a source hands out: from a file, a server, another library."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from math import inf
from typing import NamedTuple, Protocol

from realm.core import seeds
from realm.core.config import Config
from realm.core.errors import NotFoundError, UsageError
from realm.core.records import Message, Name, Record
from realm.skills.drilling import drill_texts
from realm.skills.own.grading import Grading, grade
from realm.skills.skill import (
    LevelInfo,
    LevelPrimitive,
    PrimitiveInfo,
    Problem,
    Side,
    level_info,
)

_VOCABULARY_ROWS = 150


class Identity(Record):
    """What a skill says of itself."""

    name: Name
    title: str
    version: str
    description: str = ""
    category: str = ""
    tags: tuple[str, ...] = ()


class Step(Record):
    """A level's name."""

    level: int
    name: str
    description: str = ""


class Size(NamedTuple):
    """How many problems there are."""

    problems: int
    heldout: int
    counted: bool
    """Otherwise they are estimated, or a sample of what there is."""


class Space(Protocol):
    """Problems of one primitive at one level."""

    def size(self) -> Size:
        """Count the problems."""

    def draws(self, seed: int) -> Iterator[Problem]:
        """Draw training problems, again and again; none where there are none."""

    def visit(self, side: Side, seed: int) -> Iterator[Problem]:
        """Visit the problems of one side, each once, in an order that the seed decides."""

    def find(self, prompt: str) -> Problem | None:
        """Return the problem that a user turn asks."""


Spaces = Mapping[str, Sequence[Space]]
"""By primitive."""


class Source(Protocol):
    """Where the problems of an own skill come from."""

    @property
    def identity(self) -> Identity: ...

    @property
    def system(self) -> tuple[Message, ...]:
        """Return the turns that every problem begins with."""

    @property
    def share(self) -> float:
        """Return the share of problems that is held out."""

    def primitives(self) -> tuple[PrimitiveInfo, ...]:
        """Return every primitive."""

    def steps(self) -> tuple[Step, ...]:
        """Return the levels, lowest first."""

    def spaces(self, level: int) -> Spaces:
        """Return the problems of a level that there is, of every primitive that it may have."""

    def side(self, key: str) -> Side:
        """Return the side of a problem."""

    def score(self, problem: Problem, answer: str) -> float:
        """Grade an answer."""


class OwnSkill:
    """What every own skill does in the same way."""

    def __init__(self, config: Config, source: Source) -> None:
        self.config = config
        self._source = source

    @property
    def name(self) -> str:
        return self._source.identity.name

    @property
    def title(self) -> str:
        return self._source.identity.title

    @property
    def version(self) -> str:
        return self._source.identity.version

    @property
    def identity(self) -> Identity:
        """Return what the skill says of itself."""
        return self._source.identity

    @property
    def system(self) -> tuple[Message, ...]:
        """Return the turns that every problem begins with."""
        return self._source.system

    def primitives(self) -> tuple[PrimitiveInfo, ...]:
        """Return every primitive of the skill."""
        return self._source.primitives()

    def level_numbers(self) -> Sequence[int]:
        """Return the numbers of the levels, lowest first."""
        return [step.level for step in self._source.steps()]

    def levels(self) -> tuple[LevelInfo, ...]:
        """Return every level, lowest first."""
        return tuple(self._level(step) for step in self._source.steps())

    def level(self, n: int) -> LevelInfo:
        """Return one level. Raises NotFoundError."""
        return self._level(self._step(n))

    def drills(self, level: int, count: int, *, weights: Mapping[str, float], seed: int) -> Iterator[Problem]:
        """Generate training problems; fewer where the source runs dry."""
        spaces = self._source.spaces(self._step(level).level)
        if unknown := sorted(set(weights) - set(spaces)):
            self._known(unknown[0])
        shares = _shares(spaces, weights)
        open_ = {
            name: _taken(parts, self._draw_seed(name, level, seed))
            for name, parts in spaces.items()
            if shares[name]
        }
        for index in range(count):
            rng = seeds.rng("own/drills", self.name, self.version, level, seed, index)
            problem = _next(open_, shares, rng)
            if problem is None:
                return
            yield problem

    def heldout(self, level: int, per_primitive: int, *, seed: int = 0) -> tuple[Problem, ...]:
        """Return up to so many held-out problems of each testable primitive."""
        return self._sample(self.level(level).testable_primitives(), level, per_primitive, "heldout", seed)

    def probe(self, level: int, per_primitive: int, *, seed: int) -> tuple[Problem, ...]:
        """Return training problems of every primitive."""
        return self._sample(self.level(level).primitives, level, per_primitive, "train", seed)

    def recall(self, prompt: str) -> Problem | None:
        """Return the problem that a user turn asks; the lowest level's, where several ask it."""
        found = (
            space.find(prompt)
            for step in self._source.steps()
            for parts in self._source.spaces(step.level).values()
            for space in parts
        )
        return next((problem for problem in found if problem is not None), None)

    def grade(self, problem: Problem, answer: str) -> float:
        """Compare with the right answer, in the way that the problem's form names."""
        return self._source.score(problem, answer)

    def vocabulary(self) -> tuple[Sequence[str], Sequence[str]]:
        """Return the texts of some drills of every level, and the digits."""
        texts = drill_texts(self, self.level_numbers(), _VOCABULARY_ROWS)
        return texts, tuple("0123456789")

    def split_of(self, key: str) -> Side:
        """Return the side a problem falls on. Raises UsageError for a text that is no key."""
        return self._source.side(key)

    def _known(self, primitive: str) -> None:
        names = [p.name for p in self.primitives()]
        if primitive not in names:
            hint = f"there are: {', '.join(names)}"
            raise UsageError(f"{self.name} has no primitive {primitive!r}", hint=hint)

    def _step(self, n: int) -> Step:
        steps = {step.level: step for step in self._source.steps()}
        if n not in steps:
            shown = ", ".join(map(str, steps)) if len(steps) < 10 else f"{min(steps)} to {max(steps)}"
            raise NotFoundError(f"{self.name} has no level {n}", hint=f"there are levels {shown}")
        return steps[n]

    def _level(self, step: Step) -> LevelInfo:
        spaces = self._source.spaces(step.level)
        counts = {name: [part.size() for part in parts] for name, parts in spaces.items()}
        return level_info(step.level, step.name, step.description, counts)

    def _draw_seed(self, primitive: str, level: int, seed: int) -> int:
        return seeds.seed("own/draws", self.name, self.version, level, primitive, seed)

    def _sample(
        self, primitives: Sequence[LevelPrimitive], level: int, count: int, side: Side, seed: int
    ) -> tuple[Problem, ...]:
        spaces = self._source.spaces(level)
        found: dict[str, Problem] = {}
        for primitive in primitives:
            draw = seeds.seed("own/sample", self.name, self.version, level, primitive.name, side, seed)
            turns = [space.visit(side, draw) for space in spaces.get(primitive.name, ())]
            found |= _in_turn(turns, count, found)
        return tuple(found.values())


def score(problem: Problem, answer: str, grading: Grading) -> float:
    """Grade an answer in one way, for sources that hold the right answer."""
    return grade(grading, problem.expected, answer)


def _shares(names: Iterable[str], weights: Mapping[str, float]) -> dict[str, float]:
    """Return the share of every primitive, refusing weights that mean nothing."""
    if not all(0 <= weight < inf for weight in weights.values()) or (weights and not any(weights.values())):
        raise UsageError("weights are numbers from 0 up, not all 0")
    return {name: weights.get(name, 0.0) if weights else 1.0 for name in names}


def _taken(parts: Sequence[Space], seed: int) -> Iterator[Problem]:
    """Draw from several spaces, each as often as it is large, but for the square root."""
    # Counting may take long, and one space needs no weight.
    sizes = [part.size() for part in parts] if len(parts) > 1 else []
    weights = [(size.problems - size.heldout) ** 0.5 for size in sizes] or [1.0] * len(parts)
    draws = [part.draws(seeds.seed("own/part", seed, at)) for at, part in enumerate(parts)]
    index = 0
    while draws and sum(weights):
        at = seeds.rng("own/turn", seed, index).choices(range(len(draws)), weights)[0]
        problem = next(draws[at], None)
        if problem is None:
            del draws[at], weights[at]
            continue
        index += 1
        yield problem


def _next(
    open_: dict[str, Iterator[Problem]], shares: Mapping[str, float], rng: random.Random
) -> Problem | None:
    while open_:
        names = list(open_)
        name = rng.choices(names, cum_weights=list(accumulate(shares[n] for n in names)))[0]
        problem = next(open_[name], None)
        if problem is not None:
            return problem
        del open_[name]
    return None


def _in_turn(turns: list[Iterator[Problem]], count: int, seen: Mapping[str, Problem]) -> dict[str, Problem]:
    """Take up to `count` problems, one from each iterator after the other, each key once."""
    found: dict[str, Problem] = {}
    while turns and len(found) < count:
        turn = turns.pop(0)
        problem = next((p for p in turn if p.key not in found and p.key not in seen), None)
        if problem is not None:
            found[problem.key] = problem
            turns.append(turn)
    return found
