"""BIN: arithmetic and logic on binary numbers written in circled digits.

Level n has operands of up to n+1 bits. A question is `Compute: add(①①, ①)`; its answer echoes the
call (`add(①①, ①) = ①⓪⓪`) or, in the short form, is the result alone (`①⓪⓪`). Comparisons answer
① for true and ⓪ for false, never padded.

Forms. `digit_order: lsb` writes every number, decimals included, with its least significant digit
first. `pad_digits: P` gives every number a fixed width that follows from the question alone:
operands are w = P digits (longer only if one does not fit, then both are), the result of `add` is
w+1, of `subtract` and the bitwise operations w, of `tobinary` P; decimals are as wide as the
largest number of that many bits. No form changes which problem it is.

Not covered yet: levels above 8, multiplication and division, signed forms, `verify`, `show-work`
and `trace` prompts, symbol keys and aliases.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from itertools import accumulate
from math import inf
from typing import Annotated, Literal

from pydantic import Field

from realm.core import seeds
from realm.core.config import Config as BaseConfig
from realm.core.errors import NotFoundError, UsageError
from realm.core.records import Message
from realm.skills import binary
from realm.skills.binary import Operands, Space, canonical, solve
from realm.skills.skill import LevelInfo, PrimitiveInfo, Problem, Side, level_info
from realm.skills.split import shuffled

LEVELS = binary.MAX_BITS - 1

TOP_BIT_SHARE = 0.5
"""Share of drills whose larger operand has the level's top bit; the others are uniform."""

VOCABULARY_ROWS = 150
"""Drills of each level that a tokenizer is trained on."""

_CIRCLED = str.maketrans("01", "⓪①")
_NUMBERS = frozenset(str(n) for n in range(2**binary.MAX_BITS))
_TRUTH = {True: "①", False: "⓪"}

Way = tuple[str, Space]
"""An operation as it is asked, and where its problems come from."""

_WAYS: dict[str, tuple[Way, ...]] = {
    "binary_add_no_carry": (("add", binary.NO_CARRY),),
    "binary_add_with_carry": (("add", binary.CARRY),),
    "binary_sub_no_borrow": (("subtract", binary.NO_BORROW),),
    "binary_sub_with_borrow": (("subtract", binary.BORROW),),
    "bitwise_and": (("bitwise_and", binary.AND),),
    "bitwise_or": (("bitwise_or", binary.OR),),
    "bitwise_xor": (("bitwise_xor", binary.XOR),),
    # An evaluation takes turns: every third problem is `equals`, and every third of those is true.
    "binary_compare": (
        *(("equals", binary.EQUAL), ("lessthan", binary.ORDERED), ("greaterthan", binary.ORDERED)),
        *(("equals", binary.UNEQUAL), ("lessthan", binary.ORDERED), ("greaterthan", binary.ORDERED)) * 2,
    ),
    "binary_to_decimal": (("todecimal", binary.TO_DECIMAL),),
    "decimal_to_binary": (("tobinary", binary.TO_BINARY),),
}

# Drills balance the answers instead: half of each comparison is true, an eighth compares equals.
_COMPARE_DRILLS: tuple[Way, ...] = (
    *(("equals", binary.EQUAL), ("equals", binary.UNEQUAL)) * 4,
    *(("lessthan", binary.BELOW),) * 4,
    *(("lessthan", binary.ABOVE),) * 3,
    ("lessthan", binary.TIED),
    *(("greaterthan", binary.BELOW),) * 4,
    *(("greaterthan", binary.ABOVE),) * 3,
    ("greaterthan", binary.TIED),
)
_DRILL_WAYS = {**_WAYS, "binary_compare": _COMPARE_DRILLS}

_PRIMITIVES = (
    PrimitiveInfo(
        name="binary_add_no_carry",
        display_name="Addition without carry",
        description="add(a, b) where no position has two ones",
        difficulty=2,
    ),
    PrimitiveInfo(
        name="binary_add_with_carry",
        display_name="Addition with carry",
        description="add(a, b) where some position has two ones",
        difficulty=4,
    ),
    PrimitiveInfo(
        name="binary_sub_no_borrow",
        display_name="Subtraction without borrow",
        description="subtract(a, b) where every one of b stands over a one of a",
        difficulty=3,
    ),
    PrimitiveInfo(
        name="binary_sub_with_borrow",
        display_name="Subtraction with borrow",
        description="subtract(a, b), a ≥ b, where some position must borrow",
        difficulty=5,
    ),
    PrimitiveInfo(
        name="bitwise_and",
        display_name="Bitwise and",
        description="bitwise_and(a, b)",
        difficulty=2,
    ),
    PrimitiveInfo(
        name="bitwise_or",
        display_name="Bitwise or",
        description="bitwise_or(a, b)",
        difficulty=2,
    ),
    PrimitiveInfo(
        name="bitwise_xor",
        display_name="Bitwise exclusive or",
        description="bitwise_xor(a, b)",
        difficulty=3,
    ),
    PrimitiveInfo(
        name="binary_compare",
        display_name="Comparison",
        description="equals(a, b), lessthan(a, b), greaterthan(a, b)",
        difficulty=4,
    ),
    PrimitiveInfo(
        name="binary_to_decimal",
        display_name="Binary to decimal",
        description="todecimal(a), answered in decimal digits",
        difficulty=6,
    ),
    PrimitiveInfo(
        name="decimal_to_binary",
        display_name="Decimal to binary",
        description="tobinary(d) of a decimal number",
        difficulty=6,
    ),
)


@cache
def _levels(share: float) -> tuple[LevelInfo, ...]:
    return tuple(_level(share, n) for n in range(1, LEVELS + 1))


def _level(share: float, n: int) -> LevelInfo:
    counts = binary.counts(share, n + 1)
    table = {}
    for primitive, ways in _WAYS.items():
        parts = [counts[space] for space in {space for _, space in ways}]
        table[primitive] = (sum(part[0] for part in parts), sum(part[1] for part in parts))
    top = 2 ** (n + 1) - 1
    return level_info(n, f"{n + 1}-bit numbers", f"Operands from 0 to {top}.", table)


class Bin:
    """Drill and grade binary arithmetic."""

    class Config(BaseConfig):
        """How problems are written, and how many are held back."""

        kind: Literal["bin"] = "bin"
        digit_order: Literal["msb", "lsb"] = "msb"
        """Most or least significant digit first; the latter is far easier to learn."""
        pad_digits: Annotated[int, Field(ge=1, le=16)] | None = None
        """Digits every operand has at least, filled with zeros; none means no filling."""
        answer: Literal["echo", "result"] = "echo"
        """Repeat the call before the result, or answer with the result alone."""
        heldout_fraction: Annotated[float, Field(ge=0.25, le=0.35)] = 0.30
        """Share of all problems that is never trained on; acts in steps of 1/256."""
        system_prompt: Annotated[str, Field(min_length=1)] = "Binary arithmetic."
        """What the system turn says. Shorter trains faster."""

    name = "bin"
    title = "Binary arithmetic"
    version = "1"

    def __init__(self, config: Config) -> None:
        self.config = config
        self._share = config.heldout_fraction
        self.system = (Message(role="system", content=config.system_prompt),)

    def primitives(self) -> tuple[PrimitiveInfo, ...]:
        """Return the ten primitives."""
        return _PRIMITIVES

    def levels(self) -> tuple[LevelInfo, ...]:
        """Return the eight levels."""
        return _levels(self._share)

    def level(self, n: int) -> LevelInfo:
        """Return one level. Raises NotFoundError."""
        if not 1 <= n <= LEVELS:
            raise NotFoundError(f"bin has no level {n}", hint=f"there are levels 1 to {LEVELS}")
        return _levels(self._share)[n - 1]

    def drills(self, level: int, count: int, *, weights: Mapping[str, float], seed: int) -> Iterator[Problem]:
        """Generate training problems; a primitive without training problems here gets none."""
        ways = self._trainable(self.level(level).level)
        names, shares = list(ways), _cumulative(ways, weights)
        for index in range(count):
            rng = seeds.rng("bin/drills", self.version, level, seed, index)
            primitive = rng.choices(names, cum_weights=shares)[0]
            asked, space = rng.choice(ways[primitive])
            operands = self._draw(space, level + 1, rng)
            yield self._asked(level, primitive, asked, operands[::-1] if asked == "greaterthan" else operands)

    def heldout(self, level: int, per_primitive: int, *, seed: int = 0) -> tuple[Problem, ...]:
        """Return the first held-out problems of each testable primitive, operations in turn."""
        testable = self.level(level).testable_primitives()
        return tuple(
            problem
            for primitive in testable
            for problem in self._sample(level, primitive.name, per_primitive, "heldout", seed)
        )

    def probe(self, level: int, per_primitive: int, *, seed: int) -> tuple[Problem, ...]:
        """Return distinct training problems of each primitive."""
        return tuple(
            problem
            for primitive in self.level(level).primitives
            for problem in self._sample(level, primitive.name, per_primitive, "train", seed)
        )

    def grade(self, problem: Problem, answer: str) -> float:
        """Compare with the right answer, character by character; only whitespace at the ends is forgiven."""
        return float(answer.strip() == problem.expected)

    def recall(self, prompt: str) -> Problem | None:
        """Read a question back."""
        raise NotImplementedError

    def vocabulary(self) -> tuple[Sequence[str], Sequence[str]]:
        """Return the texts of some drills of every level, and the digits."""
        texts = [
            message.content
            for level in range(1, LEVELS + 1)
            for row in self.drills(level, VOCABULARY_ROWS, weights={}, seed=0)
            for message in row.solved()
        ]
        return texts, ("⓪", "①", *"0123456789")

    def split_of(self, key: str) -> Side:
        """Return a problem's side; commuted and mirrored keys mean the same problem."""
        operation, *numbers = key.split(" ")
        if len(numbers) != (1 if operation in binary.UNARY else 2) or not _NUMBERS.issuperset(numbers):
            raise UsageError(f"{key!r} is no problem of bin", hint="a key looks like `add 3 5`")
        operands = tuple(int(n) for n in numbers)
        if solve(operation, operands) < 0:
            raise UsageError(f"{key!r} is no problem of bin", hint="differences are never negative")
        return "heldout" if binary.is_heldout(self._share, operation, operands) else "train"

    # --- drawing --------------------------------------------------------------------------

    def _trainable(self, level: int) -> dict[str, list[Way]]:
        """Return the ways of each primitive that have training problems at this level."""
        found = {
            primitive: [way for way in ways if binary.training(self._share, level + 1, way[1])]
            for primitive, ways in _DRILL_WAYS.items()
        }
        return {primitive: ways for primitive, ways in found.items() if ways}

    def _draw(self, space: Space, bits: int, rng: random.Random) -> Operands:
        """Draw a training problem of a space that has some; uniform, or with the top bit set."""
        least = 1 << bits - 1 if rng.random() < TOP_BIT_SHARE and self._has_top(space, bits) else 0
        size = space.base**bits
        while True:
            operands = space.draw(bits, rng) if space.draw else space.at(bits, rng.randrange(size))
            if (not space.draw and max(operands) < least) or not space.accept(*operands):
                continue
            if not binary.is_heldout(self._share, space.operation, operands):
                return operands

    def _has_top(self, space: Space, bits: int) -> bool:
        """Say whether a training problem uses the top bit: one that the level below lacks."""
        return binary.training(self._share, bits, space) > binary.training(self._share, bits - 1, space)

    def _sample(self, level: int, primitive: str, count: int, side: Side, seed: int) -> list[Problem]:
        """Return up to `count` distinct problems of one side, the primitive's ways in turn."""
        bits, turns = level + 1, list(_WAYS[primitive])
        walks = {space: self._walk(space, bits, side, seed) for _, space in turns}
        problems: list[Problem] = []
        while turns and len(problems) < count:
            asked, space = turns.pop(0)
            operands = next(walks[space], None)
            if operands is not None:
                problems.append(self._problem(level, primitive, asked, operands))
                turns.append((asked, space))
        return problems

    def _walk(self, space: Space, bits: int, side: Side, seed: int) -> Iterator[Operands]:
        """Visit one side of a space in hashed order, each canonical problem once."""
        rng = seeds.rng(f"bin/{side}", self.version, space.operation, space.base, bits, seed)
        for index in shuffled(space.base**bits, rng):
            operands = space.at(bits, index)
            if not space.accept(*operands) or canonical(space.operation, operands)[1] != operands:
                continue
            if binary.is_heldout(self._share, space.operation, operands) == (side == "heldout"):
                yield operands

    # --- writing --------------------------------------------------------------------------

    def _problem(self, level: int, primitive: str, asked: str, operands: Operands) -> Problem:
        """Write a canonical problem as a question; its key decides which operand comes first."""
        mirrored = asked == "greaterthan" or (
            asked in binary.COMMUTATIVE
            and bool(seeds.seed("bin/order", self.version, _key(asked, operands)) & 1)
        )
        return self._asked(level, primitive, asked, operands[::-1] if mirrored else operands)

    def _asked(self, level: int, primitive: str, asked: str, operands: Operands) -> Problem:
        call, result = self._write(asked, operands)
        return Problem(
            key=_key(asked, operands),
            primitive=primitive,
            level=level,
            messages=self._question(call),
            expected=self._answer(call, result),
        )

    def _question(self, call: str) -> tuple[Message, Message]:
        return *self.system, Message(role="user", content=f"Compute: {call}")

    def _answer(self, call: str, result: str) -> str:
        return f"{call} = {result}" if self.config.answer == "echo" else result

    def _write(self, operation: str, operands: Operands) -> tuple[str, str]:
        """Return the call and its result in this config's form."""
        pad, value = self.config.pad_digits or 0, solve(operation, operands)
        if operation == "tobinary":
            return f"tobinary({self._decimal(value, pad)})", self._binary(value, pad)
        width = max(pad, *(n.bit_length() for n in operands)) if pad else 0
        call = f"{operation}({', '.join(self._binary(n, width) for n in operands)})"
        if operation in ("equals", "lessthan", "greaterthan"):
            return call, _TRUTH[bool(value)]
        if operation == "todecimal":
            return call, self._decimal(value, width)
        return call, self._binary(value, width + 1 if operation == "add" and width else width)

    def _binary(self, value: int, width: int) -> str:
        return self._ordered(format(value, f"0{width}b")).translate(_CIRCLED)

    def _decimal(self, value: int, bits: int) -> str:
        """Write a decimal number, as wide as the largest number of that many bits; 0 fills nothing."""
        return self._ordered(str(value).zfill(len(str(2**bits - 1)) if bits else 0))

    def _ordered(self, digits: str) -> str:
        return digits[::-1] if self.config.digit_order == "lsb" else digits


def _key(asked: str, operands: Operands) -> str:
    operation, sorted_operands = canonical(asked, operands)
    return " ".join([operation, *map(str, sorted_operands)])


def _cumulative(ways: Mapping[str, object], weights: Mapping[str, float]) -> list[float]:
    """Return running sums of the primitives' shares, refusing weights that mean nothing."""
    unknown = sorted(set(weights) - set(_WAYS))
    if unknown:
        raise UsageError(f"bin has no primitive {unknown[0]!r}", hint=f"there are: {', '.join(_WAYS)}")
    shares = [weights.get(name, 0.0) if weights else 1.0 for name in ways]
    if not all(0 <= share < inf for share in shares) or sum(shares) == 0:
        raise UsageError("weights are numbers from 0 up, not all 0 for what the level can drill")
    return list(accumulate(shares))
