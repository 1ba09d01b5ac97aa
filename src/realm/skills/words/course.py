"""Drills, held-out problems, probes and grades of word puzzles: what both skills of words do alike."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

from realm.core import seeds
from realm.core.errors import NotFoundError
from realm.core.records import Message
from realm.skills.drilling import drill_texts, running_shares
from realm.skills.skill import LevelInfo, PrimitiveInfo, Problem, Side, level_info
from realm.skills.words import grading, keys
from realm.skills.words.dimensions import Dimensions
from realm.skills.words.drawing import Words
from realm.skills.words.primitives import INFOS
from realm.skills.words.spaces import Spaces

VOCABULARY_LEVELS, VOCABULARY_ROWS = 10, 60
"""Levels, evenly spread, and drills of each that a tokenizer is trained on."""


class Question(NamedTuple):
    """A problem put into words."""

    primitive: str
    words: Words
    text: str
    expected: str
    form: str = ""


class Writer(Protocol):
    """Put problems into words, and read them back."""

    def write(self, primitive: str, dims: Dimensions, words: Words, rng: random.Random) -> Question:
        """Ask for these words."""

    def read(self, text: str) -> Question | None:
        """Return what a user turn asks, None where it is none of the writer's; takes bounded time."""


class WordSkill:
    """A skill of words; a kind adds its name, its config, and which levels, primitives and writer it has."""

    name: str
    title: str
    version: str

    def __init__(
        self,
        system_prompt: str,
        *,
        levels: Sequence[Dimensions],
        primitives: Sequence[str],
        spaces: Spaces,
        writer: Writer,
    ) -> None:
        self.system = (Message(role="system", content=system_prompt),)
        self._levels = levels
        self._primitives = primitives
        self._spaces = spaces
        self._writer = writer
        self._infos: tuple[LevelInfo, ...] = ()

    def primitives(self) -> tuple[PrimitiveInfo, ...]:
        """Return every primitive of the skill."""
        return tuple(INFOS[name] for name in self._primitives)

    def level_numbers(self) -> Sequence[int]:
        """Return the numbers of the levels, lowest first."""
        return [dims.level for dims in self._levels]

    def levels(self) -> tuple[LevelInfo, ...]:
        """Return every level, lowest first."""
        self._infos = self._infos or tuple(self._info(dims) for dims in self._levels)
        return self._infos

    def level(self, n: int) -> LevelInfo:
        """Return one level. Raises NotFoundError."""
        if not 1 <= n <= len(self._levels):
            raise NotFoundError(
                f"{self.name} has no level {n}", hint=f"there are levels 1 to {len(self._levels)}"
            )
        return self.levels()[n - 1]

    def drills(self, level: int, count: int, *, weights: Mapping[str, float], seed: int) -> Iterator[Problem]:
        """Generate training problems; a primitive without training problems here gets none."""
        info, dims = self.level(level), self._levels[level - 1]
        names = [p.name for p in info.primitives if p.problems > p.heldout]
        shares = running_shares(self.name, self._primitives, names, weights)
        for index in range(count if names else 0):
            rng = seeds.rng(f"{self.name}/drills", self.version, level, seed, index)
            primitive = rng.choices(names, cum_weights=shares)[0]
            words = self._spaces.draw(dims, primitive, "train", rng)
            if words:
                yield self._problem(level, self._writer.write(primitive, dims, words, rng))

    def heldout(self, level: int, per_primitive: int, *, seed: int = 0) -> tuple[Problem, ...]:
        """Return the first held-out problems of each testable primitive."""
        testable = [p.name for p in self.level(level).testable_primitives()]
        return self._sample(level, testable, per_primitive, "heldout", seed)

    def probe(self, level: int, per_primitive: int, *, seed: int) -> tuple[Problem, ...]:
        """Return distinct training problems of each primitive."""
        self.level(level)
        return self._sample(level, self._primitives, per_primitive, "train", seed)

    def recall(self, prompt: str) -> Problem | None:
        """Read a question back; its level is the lowest that may ask this of these words."""
        asked = self._writer.read(prompt)
        if asked is None:
            return None
        fitting = (d.level for d in self._levels if self._spaces.holds(d, asked.primitive, asked.words))
        level = next(fitting, None)
        return None if level is None else self._problem(level, asked)

    def grade(self, problem: Problem, answer: str) -> float:
        """Score an answer in any of the formats; see `words/grading.py` for what is right in part."""
        return grading.grade(problem, answer)

    def vocabulary(self) -> tuple[Sequence[str], Sequence[str]]:
        """Return the texts of some drills of up to ten levels, and all characters of questions."""
        numbers = self.level_numbers()
        step = -(-len(numbers) // VOCABULARY_LEVELS)
        texts = drill_texts(self, numbers[::step], VOCABULARY_ROWS)
        return texts, (*map(chr, range(32, 127)), "—")

    def split_of(self, key: str) -> Side:
        """Return the side of a problem. Raises UsageError for a key that names none of the skill's."""
        keys.check(self._spaces.lexicon, key, self.name, self._primitives)
        return self._spaces.side(key)

    def _problem(self, level: int, asked: Question) -> Problem:
        return Problem(
            key=keys.key(asked.primitive, asked.words),
            primitive=asked.primitive,
            level=level,
            messages=(*self.system, Message(role="user", content=asked.text)),
            expected=asked.expected,
            form=asked.form,
        )

    def _sample(
        self, level: int, primitives: Sequence[str], count: int, side: Side, seed: int
    ) -> tuple[Problem, ...]:
        dims, problems = self._levels[level - 1], []
        for primitive in primitives:
            rng = seeds.rng(f"{self.name}/{side}", self.version, level, primitive, seed)
            # zip asks its first argument first, so no word is drawn in vain.
            for _, words in zip(range(count), self._spaces.walk(dims, primitive, side, rng), strict=False):
                names = sorted(word.word for word in words)
                looks = seeds.rng(f"{self.name}/looks", self.version, level, primitive, *names)
                problems.append(self._problem(level, self._writer.write(primitive, dims, words, looks)))
        return tuple(problems)

    def _info(self, dims: Dimensions) -> LevelInfo:
        (fewest, most), (lowest, highest) = dims.syllables, dims.rarity
        return level_info(
            dims.level,
            f"{dims.words} words of {fewest} to {most} syllables",
            f"Rarity {lowest} to {highest}, {dims.shared:.0%} of the blanks share a tile, "
            f"{dims.herrings} tiles too many, clues of row {dims.hints:g} of 4, strongest first.",
            {name: [self._spaces.count(dims, name)] for name in self._primitives},
        )
