"""A skill that follows from its table of primitives: drills, held-out problems, reading back, grading.

The key of a problem is its question's name and its canonical operands. Its side is a hash of the key
alone, so that level, wording and variants do not matter, nor which skill asks it.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Annotated, ClassVar

from pydantic import Field

from realm.core import seeds
from realm.core.config import Config
from realm.core.errors import NotFoundError, UsageError
from realm.core.records import Message
from realm.skills.drilling import drill_texts, running_shares
from realm.skills.passive.spaces import Operands, value
from realm.skills.passive.table import Primitive, Question, write
from realm.skills.skill import (
    LevelInfo,
    PrimitiveInfo,
    Problem,
    Side,
    level_info,
)
from realm.skills.split import shuffled

SPLIT_VERSION = 1
"""Part of the hash that decides the split. Changing it spoils every earlier evaluation."""

COUNTED = 10_000
"""Spaces up to this size are counted problem by problem; larger ones are size times share."""

PROMPT_CHARACTERS = 4000
"""Longer prompts are none of ours."""

VOCABULARY_ROWS = 150
"""Drills of each level that a tokenizer is trained on."""


class PassiveConfig(Config):
    """How many problems are held back, and what stands before them."""

    heldout_fraction: Annotated[float, Field(ge=0.25, le=0.35)] = 0.30
    """Share of all problems that is never trained on."""
    system_prompt: str = ""
    """What the system turn says; empty means that there is none."""


class PassiveSkill:
    """Drill and grade whatever the table says. A kind gives the names, the table and its steps."""

    name: ClassVar[str]
    title: ClassVar[str]
    version: ClassVar[str] = "1"
    table: ClassVar[tuple[Primitive, ...]]
    steps: ClassVar[tuple[str, ...]]
    """What each level asks, lowest first."""
    alphabet: ClassVar[str] = "0123456789"
    """Characters that a tokenizer keeps apart."""

    def __init__(self, config: PassiveConfig) -> None:
        self.config = config
        self._share = config.heldout_fraction
        prompt = config.system_prompt
        self.system = (Message(role="system", content=prompt),) if prompt else ()

    def primitives(self) -> tuple[PrimitiveInfo, ...]:
        """Return every primitive of the table."""
        return tuple(row.info for row in self.table)

    def level_numbers(self) -> range:
        """Return the numbers of the levels."""
        return range(1, len(self.steps) + 1)

    def levels(self) -> tuple[LevelInfo, ...]:
        """Return every level."""
        return tuple(self.level(n) for n in self.level_numbers())

    def level(self, n: int) -> LevelInfo:
        """Return one level. Raises NotFoundError."""
        if not 1 <= n <= len(self.steps):
            raise NotFoundError(
                f"{self.name} has no level {n}", hint=f"there are levels 1 to {len(self.steps)}"
            )
        step = self.steps[n - 1]
        counts = {
            row.info.name: [_count(self._share, asked, n) for asked in row.questions if n in asked.spaces]
            for row in self.table
        }
        return level_info(n, step, f"{self.title}: {step}.", counts)

    def drills(self, level: int, count: int, *, weights: Mapping[str, float], seed: int) -> Iterator[Problem]:
        """Generate training problems: a primitive by weight, its questions alike, operands alike."""
        self.level(level)
        ways = self._trainable(level)
        known, names = [row.info.name for row in self.table], list(ways)
        shares = running_shares(self.name, known, names, weights)
        for index in range(count if names else 0):
            rng = seeds.rng(f"{self.name}/drills", self.version, level, seed, index)
            primitive = rng.choices(names, cum_weights=shares)[0]
            question = rng.choice(ways[primitive])
            yield self._problem(level, primitive, question, self._draw(question, level, rng), rng)

    def heldout(self, level: int, per_primitive: int, *, seed: int = 0) -> tuple[Problem, ...]:
        """Return held-out problems of each testable primitive, its questions in turn."""
        names = {info.name for info in self.level(level).testable_primitives()}
        asked = [row for row in self.table if row.info.name in names]
        return tuple(p for row in asked for p in self._sample(level, row, per_primitive, "heldout", seed))

    def probe(self, level: int, per_primitive: int, *, seed: int) -> tuple[Problem, ...]:
        """Return distinct training problems of each primitive, its questions in turn."""
        self.level(level)
        return tuple(p for row in self.table for p in self._sample(level, row, per_primitive, "train", seed))

    def recall(self, prompt: str) -> Problem | None:
        """Read a question back; its level is the lowest that asks it."""
        if len(prompt) > PROMPT_CHARACTERS:
            return None
        found: list[Problem] = []
        for row in self.table:
            for question in row.questions:
                read = question.read(prompt)
                level = question.level_of(read[1]) if read else None
                if read and level is not None:
                    found.append(self._asked(level, row.info.name, question, *read, prompt))
        return min(found, key=lambda problem: problem.level, default=None)

    def grade(self, problem: Problem, answer: str) -> float:
        """Forgive whitespace at the ends, one trailing period and the case of letters, nothing else."""
        given, right = answer.strip(), problem.expected
        if len(given) > len(right) + 1 or not given.isascii():
            return 0.0
        return float(given.removesuffix(".").lower() == right.lower())

    def vocabulary(self) -> tuple[Sequence[str], Sequence[str]]:
        """Return the texts of some drills of every level, and the alphabet."""
        texts = drill_texts(self, self.level_numbers(), VOCABULARY_ROWS)
        return texts, tuple(self.alphabet)

    def split_of(self, key: str) -> Side:
        """Return a problem's side. Raises UsageError where the key names no problem of this skill."""
        name, _, rest = key.partition(" ")
        operands = tuple(map(value, rest.split("|")))
        known = any(
            question.name == name
            and question.level_of(operands) is not None
            and question.key(operands) == key
            for row in self.table
            for question in row.questions
        )
        if not known:
            raise UsageError(f"{key!r} is no problem of {self.name}", hint="a key is part of every problem")
        return "heldout" if _heldout(self._share, key) else "train"

    # --- drawing --------------------------------------------------------------------------

    def _trainable(self, level: int) -> dict[str, list[Question]]:
        """Return the questions of each primitive that have training problems at this level."""
        found = {
            row.info.name: [
                question
                for question in row.questions
                if level in question.spaces and _has_training(self._share, question, level)
            ]
            for row in self.table
        }
        return {name: questions for name, questions in found.items() if questions}

    def _draw(self, question: Question, level: int, rng: random.Random) -> Operands:
        space = question.spaces[level]
        while True:
            operands = space.at(rng.randrange(space.size))
            if not _heldout(self._share, question.key(operands)):
                return operands

    def _sample(self, level: int, row: Primitive, count: int, side: Side, seed: int) -> list[Problem]:
        """Return up to `count` distinct problems of one side, the primitive's questions in turn."""
        turns = [
            (question, self._walk(question, level, side, seed, place))
            for place, question in enumerate(row.questions)
            if level in question.spaces
        ]
        problems: list[Problem] = []
        while turns and len(problems) < count:
            question, walk = turns.pop(0)
            operands = next(walk, None)
            if operands is not None:
                rng = seeds.rng("passive/ask", SPLIT_VERSION, question.key(operands))
                problems.append(self._problem(level, row.info.name, question, operands, rng))
                turns.append((question, walk))
        return problems

    def _walk(self, question: Question, level: int, side: Side, seed: int, place: int) -> Iterator[Operands]:
        """Visit one side of a question's space in hashed order."""
        space = question.spaces[level]
        rng = seeds.rng(f"{self.name}/{side}", self.version, question.name, place, level, seed)
        for index in shuffled(space.size, rng):
            operands = space.at(index)
            if _heldout(self._share, question.key(operands)) == (side == "heldout"):
                yield operands

    # --- writing --------------------------------------------------------------------------

    def _problem(
        self, level: int, primitive: str, question: Question, operands: Operands, rng: random.Random
    ) -> Problem:
        asked = question.vary(operands, rng)
        prompt = write(rng.choice(question.wordings), asked)
        return self._asked(level, primitive, question, asked, operands, prompt)

    def _asked(
        self,
        level: int,
        primitive: str,
        question: Question,
        asked: Operands,
        operands: Operands,
        prompt: str,
    ) -> Problem:
        return Problem(
            key=question.key(operands),
            primitive=primitive,
            level=level,
            messages=(*self.system, Message(role="user", content=prompt)),
            expected=str(question.solve(*asked)),
        )


def _heldout(share: float, key: str) -> bool:
    text = f"passive/split {SPLIT_VERSION} {key}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6], "big") < share * 2**48


@cache
def _count(share: float, question: Question, level: int) -> tuple[int, int, bool]:
    """Return (problems, held-out ones, whether they were counted one by one)."""
    space = question.spaces[level]
    if space.size > COUNTED:
        return space.size, round(space.size * share), False
    heldout = sum(_heldout(share, question.key(space.at(index))) for index in range(space.size))
    return space.size, heldout, True


def _has_training(share: float, question: Question, level: int) -> bool:
    problems, heldout, _ = _count(share, question, level)
    return problems > heldout
