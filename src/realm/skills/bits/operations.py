"""The operations of binary arithmetic: what they are called, what is right, and the name of a problem.

A canonical key names an operation and integers in decimal, such as `add 3 5` or `add -3 5`. Signed
forms are wordings of `add` and `subtract`, `greaterthan` is `lessthan` with its operands swapped, and
commutative operations name the smaller operand first.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Literal, NamedTuple

from realm.core.errors import UsageError

MAX_BITS = 31
"""Operands are below 2**31, signed ones from -2**30."""

Operands = tuple[int, ...]

Answer = Literal["number", "truth", "decimal"]


def _same(width: int) -> int:
    return width


def _one_more(width: int) -> int:
    return width + 1


def _double(width: int) -> int:
    return 2 * width


class Operation(NamedTuple):
    """One operation as it is asked."""

    canonical: str
    """First word of the key."""
    arity: int
    solve: Callable[[int, int], int]
    """(first operand, last operand) → the right answer; truth is 1 or 0."""
    check: str
    """The same in decimal, of `a`, `b` and the result `r`; empty where powers of two are summed."""
    answer: Answer = "number"
    width: Callable[[int], int] = _same
    """Digits of the result in padded forms, from those of the operands."""
    commutative: bool = False
    swapped: bool = False
    """The key names the operands the other way round."""
    signed: bool = False
    """Written in two's complement of a width that the question states."""
    blank: Callable[[int, int, int], int] | None = None
    """(place, other operand, result) → the operand that stood in that place, where only one can."""


OPERATIONS: dict[str, Operation] = {
    "add": Operation(
        "add",
        2,
        lambda a, b: a + b,
        "{a} + {b} = {r}",
        width=_one_more,
        commutative=True,
        blank=lambda _, other, r: r - other,
    ),
    "subtract": Operation(
        "subtract",
        2,
        lambda a, b: a - b,
        "{a} - {b} = {r}",
        blank=lambda place, other, r: other - r if place else r + other,
    ),
    "multiply": Operation(
        "multiply", 2, lambda a, b: a * b, "{a} * {b} = {r}", width=_double, commutative=True
    ),
    "divide": Operation("divide", 2, lambda a, b: a // b, "{a} / {b} = {r} remainder {m}"),
    "increment": Operation(
        "increment", 1, lambda a, _: a + 1, "{a} + 1 = {r}", width=_one_more, blank=lambda _, __, r: r - 1
    ),
    "decrement": Operation("decrement", 1, lambda a, _: a - 1, "{a} - 1 = {r}", blank=lambda _, __, r: r + 1),
    "multiply_by_2": Operation(
        "multiply_by_2",
        1,
        lambda a, _: a * 2,
        "{a} * 2 = {r}",
        width=_one_more,
        blank=lambda _, __, r: r // 2,
    ),
    "divide_by_2": Operation("divide_by_2", 1, lambda a, _: a // 2, "{a} / 2 = {r} remainder {m}"),
    "bitwise_and": Operation("bitwise_and", 2, lambda a, b: a & b, "{a} and {b} = {r}", commutative=True),
    "bitwise_or": Operation("bitwise_or", 2, lambda a, b: a | b, "{a} or {b} = {r}", commutative=True),
    "bitwise_xor": Operation(
        "bitwise_xor",
        2,
        lambda a, b: a ^ b,
        "{a} xor {b} = {r}",
        commutative=True,
        blank=lambda _, other, r: r ^ other,
    ),
    "equals": Operation(
        "equals", 2, lambda a, b: int(a == b), "{a} = {b} is {t}", answer="truth", commutative=True
    ),
    "lessthan": Operation("lessthan", 2, lambda a, b: int(a < b), "{a} < {b} is {t}", answer="truth"),
    "greaterthan": Operation(
        "lessthan", 2, lambda a, b: int(a > b), "{a} > {b} is {t}", answer="truth", swapped=True
    ),
    "minimum": Operation("minimum", 2, min, "min {a} {b} = {r}", commutative=True),
    "maximum": Operation("maximum", 2, max, "max {a} {b} = {r}", commutative=True),
    "todecimal": Operation("todecimal", 1, lambda a, _: a, "", answer="decimal", blank=lambda _, __, r: r),
    "tobinary": Operation("tobinary", 1, lambda a, _: a, "", blank=lambda _, __, r: r),
    "signed_add": Operation(
        "add",
        2,
        lambda a, b: a + b,
        "{a} + {b} = {r}",
        commutative=True,
        signed=True,
        blank=lambda _, other, r: r - other,
    ),
    "signed_subtract": Operation(
        "subtract",
        2,
        lambda a, b: a - b,
        "{a} - {b} = {r}",
        signed=True,
        blank=lambda place, other, r: other - r if place else r + other,
    ),
    "negate": Operation(
        "negate", 1, lambda a, _: -a, "0 - {a} = {r}", signed=True, blank=lambda _, __, r: -r
    ),
    "absolute_value": Operation("absolute_value", 1, lambda a, _: abs(a), "abs {a} = {r}", signed=True),
}

_MAY_BE_NEGATIVE = frozenset(operation.canonical for operation in OPERATIONS.values() if operation.signed)
_LONGEST_KEY = 60
_NUMBER = re.compile(r"0|-?[1-9][0-9]{0,9}")


def canonical(asked: str, operands: Operands) -> tuple[str, Operands]:
    """Return the one name that all wordings of a problem share, as operation and operands."""
    operation = OPERATIONS[asked]
    if operation.swapped or (operation.commutative and operands[0] > operands[1]):
        operands = operands[::-1]
    return operation.canonical, operands


def key(asked: str, operands: Operands) -> str:
    """Return the canonical key, such as `add 3 5`."""
    name, numbers = canonical(asked, operands)
    return f"{name} {numbers[0]} {numbers[1]}" if len(numbers) == 2 else f"{name} {numbers[0]}"


def solve(asked: str, operands: Operands) -> int:
    """Return the right answer as a number; comparisons give 1 or 0, quotients are rounded down."""
    return OPERATIONS[asked].solve(operands[0], operands[-1])


def possible(asked: str, operands: Operands) -> bool:
    """Say whether operands are within bounds and have an answer that can be written."""
    operation, most = OPERATIONS[asked], 1 << MAX_BITS
    if len(operands) != operation.arity or not all(-most < n < most for n in operands):
        return False
    if min(operands) < 0 and operation.canonical not in _MAY_BE_NEGATIVE:
        return False
    return not (
        (operation.canonical == "divide" and operands[1] == 0)
        or (operation.canonical == "decrement" and operands[0] == 0)
    )


def parse_key(text: str) -> tuple[str, Operands]:
    """Read a key back as (operation, operands). Raises UsageError for anything else."""
    name, *numbers = text.split(" ") if len(text) <= _LONGEST_KEY else [""]
    if name in OPERATIONS and numbers and all(_NUMBER.fullmatch(n) for n in numbers):
        operands = tuple(int(n) for n in numbers)
        if possible(name, operands):
            return name, operands
    shown = text[:_LONGEST_KEY]
    raise UsageError(f"{shown!r} is no problem of binary arithmetic", hint="a key looks like `add 3 5`")
