"""Binary arithmetic in plain 0-1 notation, as a general model would be asked.

Problems have BIN's keys and fall on BIN's sides, so what one of the two holds back the other never
trains. Answers are binary numbers without leading zeros, decimal numbers, or yes and no.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Annotated, Literal

from pydantic import Field

from realm.core.config import Config as BaseConfig
from realm.core.errors import NotFoundError
from realm.core.records import Message
from realm.skills.bits import spaces
from realm.skills.bits.drawing import Asked, Deck, Way
from realm.skills.bits.operations import OPERATIONS, key, parse_key, possible, solve
from realm.skills.bits.primitives import CORE, DRILL_WAYS, INFOS, primitive_of
from realm.skills.drilling import drill_texts
from realm.skills.skill import LevelInfo, PrimitiveInfo, Problem, Side

BITS = (5, 7, 9, 12, 16)
"""Operands of each level are below two to this power."""

VOCABULARY_ROWS = 200
"""Drills of each level that a tokenizer is trained on."""

_NEIGHBOURS: dict[str, tuple[Way, ...]] = {
    "increment": (("increment", spaces.INCREMENT),),
    "decrement": (("decrement", spaces.DECREMENT),),
}
_WAYS = {**CORE, **_NEIGHBOURS}

_PRIMITIVES = (
    *INFOS,
    PrimitiveInfo(
        name="increment", display_name="Next number", description="the binary number after a", difficulty=3
    ),
    PrimitiveInfo(
        name="decrement", display_name="Number before", description="the binary number before a", difficulty=4
    ),
)

_QUESTIONS = {
    "add": "What is {} + {} in binary?",
    "subtract": "What is {} - {} in binary?",
    "bitwise_and": "What is {} AND {}, digit by digit?",
    "bitwise_or": "What is {} OR {}, digit by digit?",
    "bitwise_xor": "What is {} XOR {}, digit by digit?",
    "equals": "Is {} equal to {}?",
    "lessthan": "Is {} less than {}?",
    "greaterthan": "Is {} greater than {}?",
    "todecimal": "What is the binary number {} in decimal?",
    "tobinary": "What is the decimal number {} in binary?",
    "increment": "Which binary number comes right after {}?",
    "decrement": "Which binary number comes right before {}?",
}
_NUMBER = r"(0|[1-9][0-9]{0,39})"
_PATTERNS = {
    operation: re.compile(_NUMBER.join(re.escape(part) for part in question.split("{}")))
    for operation, question in _QUESTIONS.items()
}
_LONGEST = 200


@cache
def _deck(share: float) -> Deck:
    drill_ways = {**DRILL_WAYS["core"], **_NEIGHBOURS}
    return Deck(BinaryArithmetic.name, BinaryArithmetic.version, share, _WAYS, drill_ways)


@cache
def _levels(share: float) -> tuple[LevelInfo, ...]:
    deck = _deck(share)
    return tuple(deck.level(n, bits, f"{bits}-bit numbers") for n, bits in enumerate(BITS, 1))


class BinaryArithmetic:
    """Ask and grade binary arithmetic in plain words."""

    class Config(BaseConfig):
        """What the system turn says, and how many problems are held back."""

        kind: Literal["binary_arithmetic"] = "binary_arithmetic"
        heldout_fraction: Annotated[float, Field(ge=0.25, le=0.35)] = 0.30
        """Share of all problems that is never trained on; BIN has to have the same one to share the split."""
        system_prompt: Annotated[str, Field(min_length=1)] = (
            "Numbers are binary unless the question says otherwise. Answer with the number alone, "
            "without leading zeros, or with yes or no."
        )
        """What the system turn says."""

    name = "binary_arithmetic"
    title = "Binary arithmetic in plain notation"
    version = "1"

    def __init__(self, config: Config) -> None:
        self.config = config
        self.system = (Message(role="system", content=config.system_prompt),)
        self._deck = _deck(config.heldout_fraction)

    def primitives(self) -> tuple[PrimitiveInfo, ...]:
        """Return the twelve primitives."""
        return _PRIMITIVES

    def level_numbers(self) -> range:
        """Return the numbers of the levels."""
        return range(1, len(BITS) + 1)

    def levels(self) -> tuple[LevelInfo, ...]:
        """Return the five levels."""
        return _levels(self.config.heldout_fraction)

    def level(self, n: int) -> LevelInfo:
        """Return one level. Raises NotFoundError."""
        if not 1 <= n <= len(BITS):
            raise NotFoundError(f"{self.name} has no level {n}", hint=f"there are levels 1 to {len(BITS)}")
        return self.levels()[n - 1]

    def drills(self, level: int, count: int, *, weights: Mapping[str, float], seed: int) -> Iterator[Problem]:
        """Generate training problems; a primitive without training problems here gets none."""
        bits = BITS[self.level(level).level - 1]
        for asked, _ in self._deck.drills(level, bits, count, weights=weights, seed=seed):
            yield self._problem(level, asked)

    def heldout(self, level: int, per_primitive: int, *, seed: int = 0) -> tuple[Problem, ...]:
        """Return the first held-out problems of each testable primitive, operations in turn."""
        names = [p.name for p in self.level(level).testable_primitives()]
        return self._sample(level, names, per_primitive, "heldout", seed)

    def probe(self, level: int, per_primitive: int, *, seed: int) -> tuple[Problem, ...]:
        """Return distinct training problems of each primitive."""
        names = [p.name for p in self.level(level).primitives]
        return self._sample(level, names, per_primitive, "train", seed)

    def recall(self, prompt: str) -> Problem | None:
        """Return the problem that a user turn asks, at the lowest level that asks it."""
        if len(prompt) > _LONGEST:
            return None
        matches = ((operation, pattern.fullmatch(prompt)) for operation, pattern in _PATTERNS.items())
        operation, match = next(((o, m) for o, m in matches if m), ("", None))
        if match is None:
            return None
        base = 10 if operation == "tobinary" else 2
        if base == 2 and not set("".join(match.groups())) <= {"0", "1"}:
            return None
        operands = tuple(int(number, base) for number in match.groups())
        primitive = primitive_of(_WAYS, operation, operands) if possible(operation, operands) else None
        level = next((n for n, bits in enumerate(BITS, 1) if max(operands) < 1 << bits), None)
        if primitive is None or level is None:
            return None
        return self._problem(level, Asked(primitive, operation, operands))

    def grade(self, problem: Problem, answer: str) -> float:
        """Compare with the right answer; whitespace at the ends and the case of yes and no are forgiven."""
        answer = answer.strip()
        return float(len(answer) == len(problem.expected) and answer.lower() == problem.expected)

    def vocabulary(self) -> tuple[Sequence[str], Sequence[str]]:
        """Return the texts of some drills of every level, and the digits."""
        texts = drill_texts(self, self.level_numbers(), VOCABULARY_ROWS)
        return texts, tuple("0123456789")

    def split_of(self, key: str) -> Side:
        """Return a problem's side, in whichever skill and wording it is asked."""
        return self._deck.side(*parse_key(key))

    def _sample(
        self, level: int, names: list[str], per_primitive: int, side: Side, seed: int
    ) -> tuple[Problem, ...]:
        return tuple(
            self._problem(level, asked)
            for name in names
            for asked in self._deck.sample(name, BITS[level - 1], per_primitive, side, seed)
        )

    def _problem(self, level: int, asked: Asked) -> Problem:
        numeral = "d" if asked.operation == "tobinary" else "b"
        numbers = [format(n, numeral) for n in asked.operands]
        question = _QUESTIONS[asked.operation].format(*numbers)
        return Problem(
            key=key(asked.operation, asked.operands),
            primitive=asked.primitive,
            level=level,
            messages=(*self.system, Message(role="user", content=question)),
            expected=_answer(asked),
        )


def _answer(asked: Asked) -> str:
    value, kind = solve(asked.operation, asked.operands), OPERATIONS[asked.operation].answer
    if kind == "truth":
        return "yes" if value else "no"
    return str(value) if kind == "decimal" else format(value, "b")
