"""Sets of canonical problems with operands of so many bits: counted, drawn from and visited by index.

No space is held in memory, however large.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import cache
from itertools import accumulate
from typing import NamedTuple

from realm.skills.bits.operations import Operands

Draw = Callable[[int, random.Random], Operands]


class Space(NamedTuple):
    """Problems of one operation, by index; `accept` may leave entries out."""

    operation: str
    """Canonical operation: the first word of the key."""
    base: int
    """A level of `bits` bits has base**bits entries."""
    at: Callable[[int, int], Operands]
    """(bits, index) → operands; none where the entry is empty."""
    problems: Callable[[int], int]
    """bits → how many canonical problems the accepted entries stand for."""
    accept: Callable[..., bool] = lambda *operands: True
    draw: Draw | None = None
    """(bits, rng) → accepted operands, where drills need another mix than all entries alike."""

    def entries(self, bits: int) -> int:
        """Return how many indices there are."""
        return int(self.base**bits)


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


def _signed_sum(bits: int, index: int) -> Operands:
    """Pairs of that width with a negative number whose sum fits."""
    half = 1 << bits - 1
    first, second = (number - half for number in divmod(index, 1 << bits))
    fits = -half <= first + second < half
    return (first, second) if fits and min(first, second) < 0 else ()


def _signed_difference(bits: int, index: int) -> Operands:
    """Pairs of that width whose difference fits and which unsigned subtraction cannot ask."""
    half = 1 << bits - 1
    first, second = (number - half for number in divmod(index, 1 << bits))
    fits = -half <= first - second < half
    return (first, second) if fits and not first >= second >= 0 else ()


def _signed(bits: int, index: int) -> Operands:
    """Numbers of that width, the least left out because its negation does not fit."""
    return (index - (1 << bits - 1),) if index else ()


def _same(bits: int, index: int) -> Operands:
    return index, index


def _single(bits: int, index: int) -> Operands:
    return (index,)


@cache
def _highest_difference(bits: int) -> list[float]:
    return list(accumulate(2 ** (k / 2) for k in range(bits)))


def _below(bits: int, rng: random.Random) -> Operands:
    """Draw a < b by the highest bit k in which they differ, as often as the square root of its share.

    Drawn alike, half of all pairs differ in the top bit, and which of two close numbers is larger
    is hardly ever asked.
    """
    k = rng.choices(range(bits), cum_weights=_highest_difference(bits))[0]
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


def _closest(bits: int, rng: random.Random) -> Operands:
    """Draw two numbers, mostly different, in either order."""
    pair = _below(bits, rng)
    return pair if rng.random() < 0.5 else pair[::-1]


def _quotients(bits: int, rng: random.Random) -> Operands:
    """Draw a divisor of any length and a number that is not below it."""
    divisor = rng.randrange(1, 1 << rng.randrange(1, bits + 1))
    return rng.randrange(divisor, 1 << bits), divisor


def _signed_number(bits: int, rng: random.Random) -> Operands:
    half = 1 << bits - 1
    return (rng.randrange(1 - half, half),)


def _sums(bits: int, rng: random.Random) -> Operands:
    """Draw a negative number and one so that the sum fits, in either order."""
    half = 1 << bits - 1
    first = -rng.randrange(1, half + 1)
    pair = first, rng.randrange(-half - first, half)
    return pair if rng.random() < 0.5 else pair[::-1]


def _differences(bits: int, rng: random.Random) -> Operands:
    """Draw two numbers whose difference fits, one of them negative or the second one larger."""
    half = 1 << bits - 1
    while True:
        first = rng.randrange(-half, half)
        second = rng.randrange(max(-half, first - half + 1), min(half - 1, first + half) + 1)
        if not first >= second >= 0:
            return first, second


def _triangle(bits: int) -> int:
    return (1 << bits) * ((1 << bits) + 1) >> 1


def _strict(bits: int) -> int:
    return (1 << bits) * ((1 << bits) - 1) >> 1


def _numbers(bits: int) -> int:
    return 1 << bits


def _half(bits: int) -> int:
    return 1 << bits - 1


def _signed_sums(bits: int) -> int:
    """Count pairs with a negative number; mixed ones always fit, two negatives if not below -half."""
    half = 1 << bits - 1
    return half * half + half * half // 4


def _signed_differences(bits: int) -> int:
    half = 1 << bits - 1
    return 3 * half * half - half * (half + 1) // 2


NO_CARRY = Space("add", 3, _disjoint, lambda bits: (3**bits + 1) // 2, lambda a, b: not a & b)
CARRY = Space("add", 4, _pair, lambda bits: _triangle(bits) - (3**bits + 1) // 2, lambda a, b: bool(a & b))
NO_BORROW = Space("subtract", 3, _subset, lambda bits: int(3**bits), lambda a, b: not b & ~a)
BORROW = Space(
    "subtract", 4, _pair, lambda bits: _triangle(bits) - 3**bits, lambda a, b: a > b and bool(b & ~a)
)
AND = Space("bitwise_and", 4, _pair, _triangle)
OR = Space("bitwise_or", 4, _pair, _triangle)
XOR = Space("bitwise_xor", 4, _pair, _triangle)
EQUAL = Space("equals", 2, _same, _numbers)
UNEQUAL = Space("equals", 4, _pair, _strict, lambda a, b: a != b, _unequal)
ORDERED = Space("lessthan", 4, _pair, lambda bits: 1 << 2 * bits)
BELOW = Space("lessthan", 4, _pair, _strict, lambda a, b: a < b, _below)
ABOVE = Space("lessthan", 4, _pair, _strict, lambda a, b: a > b, _above)
TIED = Space("lessthan", 2, _same, _numbers)
TO_DECIMAL = Space("todecimal", 2, _single, _numbers)
TO_BINARY = Space("tobinary", 2, _single, _numbers)

MULTIPLY = Space("multiply", 4, _pair, _triangle)
DIVIDE = Space("divide", 4, _pair, _strict, lambda a, b: a >= b > 0, _quotients)
INCREMENT = Space("increment", 2, _single, _numbers)
INCREMENT_EVEN = Space("increment", 2, _single, _half, lambda a: a % 2 == 0)
INCREMENT_ODD = Space("increment", 2, _single, _half, lambda a: a % 2 == 1)
DECREMENT = Space("decrement", 2, _single, lambda bits: (1 << bits) - 1, lambda a: a > 0)
DECREMENT_ODD = Space("decrement", 2, _single, _half, lambda a: a % 2 == 1)
DECREMENT_EVEN = Space("decrement", 2, _single, lambda bits: _half(bits) - 1, lambda a: a > 0 and a % 2 == 0)
DOUBLE = Space("multiply_by_2", 2, _single, _numbers)
HALVE = Space("divide_by_2", 2, _single, _numbers)
MINIMUM = Space("minimum", 4, _pair, _triangle, draw=_closest)
MAXIMUM = Space("maximum", 4, _pair, _triangle, draw=_closest)
SIGNED_ADD = Space("add", 4, _signed_sum, _signed_sums, draw=_sums)
SIGNED_SUBTRACT = Space("subtract", 4, _signed_difference, _signed_differences, draw=_differences)
NEGATE = Space("negate", 2, _signed, lambda bits: (1 << bits) - 1, draw=_signed_number)
ABSOLUTE = Space("absolute_value", 2, _signed, lambda bits: (1 << bits) - 1, draw=_signed_number)
