"""The problems of binary arithmetic: what is asked, the right answers, and exact counts.

A space is a set of canonical problems with operands below 2**bits. It can be counted, drawn from
and visited by index without holding it in memory. Nothing here knows how a problem is written.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from functools import cache
from typing import NamedTuple

from realm.core.errors import UsageError
from realm.skills.split import PairSplit

MAX_BITS = 9
SPLIT_VERSION = 1871
"""Part of the hash that decides the split. Changing it spoils every earlier evaluation.

Chosen so that chance is fair to small levels too: at every level, each primitive with 30 problems or
more has 25 to 35 % of them held out, and no way of asking is left without training problems.
"""

Operands = tuple[int, ...]


class Space(NamedTuple):
    """Problems of one operation, by index; `accept` may leave entries out."""

    operation: str
    """Canonical operation: the first word of the key."""
    base: int
    """A level of `bits` bits has base**bits entries."""
    at: Callable[[int, int], Operands]
    """(bits, index) → operands."""
    accept: Callable[..., bool] = lambda *operands: True
    draw: Callable[[int, random.Random], Operands] | None = None
    """(bits, rng) → operands, where drills need another mix than all entries alike."""


def _pair(bits: int, index: int) -> Operands:
    return divmod(index, 1 << bits)


def _disjoint(bits: int, index: int) -> Operands:
    """Pairs without a common bit: each position is 00, 10 or 01."""
    first = second = 0
    for _ in range(bits):
        index, digit = divmod(index, 3)
        first, second = first << 1 | (digit == 1), second << 1 | (digit == 2)
    return first, second


def _subset(bits: int, index: int) -> Operands:
    """Pairs whose second number's bits are all in the first: each position is 00, 10 or 11."""
    first = second = 0
    for _ in range(bits):
        index, digit = divmod(index, 3)
        first, second = first << 1 | (digit > 0), second << 1 | (digit == 2)
    return first, second


def _below(bits: int, rng: random.Random) -> Operands:
    """Draw a < b by the highest bit k in which they differ, as often as the square root of its share.

    Drawn alike, half of all pairs differ in the top bit, and which of two close numbers is larger
    is hardly ever asked.
    """
    k = rng.choices(range(bits), weights=[2 ** (k / 2) for k in range(bits)])[0]
    common = rng.randrange(1 << bits - 1 - k) << k + 1
    return common | rng.randrange(1 << k), common | 1 << k | rng.randrange(1 << k)


def _above(bits: int, rng: random.Random) -> Operands:
    return _below(bits, rng)[::-1]


def _unequal(bits: int, rng: random.Random) -> Operands:
    """Draw two numbers, half of the time ones that differ in a single bit."""
    a = rng.randrange(1 << bits)
    if rng.random() < 0.5:
        return a, a ^ 1 << rng.randrange(bits)
    return a, (a + rng.randrange(1, 1 << bits)) % (1 << bits)


def _same(bits: int, index: int) -> Operands:
    return index, index


def _single(bits: int, index: int) -> Operands:
    return (index,)


NO_CARRY = Space("add", 3, _disjoint)
CARRY = Space("add", 4, _pair, lambda a, b: bool(a & b))
NO_BORROW = Space("subtract", 3, _subset)
BORROW = Space("subtract", 4, _pair, lambda a, b: a > b and bool(b & ~a))
AND = Space("bitwise_and", 4, _pair)
OR = Space("bitwise_or", 4, _pair)
XOR = Space("bitwise_xor", 4, _pair)
EQUAL = Space("equals", 2, _same)
UNEQUAL = Space("equals", 4, _pair, lambda a, b: a != b, _unequal)
ORDERED = Space("lessthan", 4, _pair)
BELOW = Space("lessthan", 4, _pair, lambda a, b: a < b, _below)
ABOVE = Space("lessthan", 4, _pair, lambda a, b: a > b, _above)
TIED = Space("lessthan", 2, _same)
TO_DECIMAL = Space("todecimal", 2, _single)
TO_BINARY = Space("tobinary", 2, _single)

COMMUTATIVE = frozenset({"add", "bitwise_and", "bitwise_or", "bitwise_xor", "equals"})
UNARY = frozenset({"todecimal", "tobinary"})


def canonical(operation: str, operands: Operands) -> tuple[str, Operands]:
    """Return the one name that all wordings of a problem share, as operation and operands."""
    if operation == "greaterthan":
        return "lessthan", operands[::-1]
    if operation in COMMUTATIVE and operands[0] > operands[1]:
        return operation, operands[::-1]
    return operation, operands


def solve(operation: str, operands: Operands) -> int:
    """Return the right answer as a number; comparisons give 1 or 0."""
    a, b = operands[0], operands[-1]
    match operation:
        case "add":
            return a + b
        case "subtract":
            return a - b
        case "bitwise_and":
            return a & b
        case "bitwise_or":
            return a | b
        case "bitwise_xor":
            return a ^ b
        case "equals":
            return int(a == b)
        case "lessthan":
            return int(a < b)
        case "greaterthan":
            return int(a > b)
        case "todecimal" | "tobinary":
            return a
    raise UsageError(f"BIN has no operation {operation!r}")


# --- counting: exact, a row of second operands at a time -----------------------------------


@cache
def split(share: float) -> PairSplit:
    """Return the split that holds back this share of all problems."""
    return PairSplit("bin", SPLIT_VERSION, share, width=2**MAX_BITS)


def is_heldout(share: float, operation: str, operands: Operands) -> bool:
    """Say whether a problem is held out, in whichever wording it is asked."""
    operation, operands = canonical(operation, operands)
    first, second = operands if len(operands) == 2 else (0, operands[0])
    return split(share).row(operation, first)[second] == 1


def training(share: float, bits: int, space: Space) -> int:
    """Return how many problems of a space may be trained on."""
    problems, heldout = counts(share, bits)[space]
    return problems - heldout


@cache
def counts(share: float, bits: int) -> dict[Space, tuple[int, int]]:
    """Return (canonical problems, held-out ones) of every space at a number of bits."""
    row, size = split(share).row, 1 << bits
    numbers = range(size)
    up = {op: sum(row(op, a).count(1, a, size) for a in numbers) for op in (*COMMUTATIVE, "lessthan")}
    down = {op: sum(row(op, a).count(1, 0, a + 1) for a in numbers) for op in ("subtract", "lessthan")}
    same = {op: sum(row(op, a)[a] for a in numbers) for op in ("equals", "lessthan")}
    disjoint = sum(row("add", a)[b] for a in numbers for b in _submasks(~a & size - 1) if b >= a)
    subset = sum(row("subtract", a)[b] for a in numbers for b in _submasks(a))
    triangle, ternary = size * (size + 1) // 2, 3**bits
    return {
        NO_CARRY: ((ternary + 1) // 2, disjoint),
        CARRY: (triangle - (ternary + 1) // 2, up["add"] - disjoint),
        NO_BORROW: (ternary, subset),
        BORROW: (triangle - ternary, down["subtract"] - subset),
        AND: (triangle, up["bitwise_and"]),
        OR: (triangle, up["bitwise_or"]),
        XOR: (triangle, up["bitwise_xor"]),
        EQUAL: (size, same["equals"]),
        UNEQUAL: (triangle - size, up["equals"] - same["equals"]),
        ORDERED: (size * size, up["lessthan"] + down["lessthan"] - same["lessthan"]),
        BELOW: (triangle - size, up["lessthan"] - same["lessthan"]),
        ABOVE: (triangle - size, down["lessthan"] - same["lessthan"]),
        TIED: (size, same["lessthan"]),
        TO_DECIMAL: (size, row("todecimal", 0).count(1, 0, size)),
        TO_BINARY: (size, row("tobinary", 0).count(1, 0, size)),
    }


def _submasks(mask: int) -> Iterator[int]:
    """Yield every number whose bits are all in the mask."""
    part = mask
    while part:
        yield part
        part = part - 1 & mask
    yield 0
