"""The primitives of binary arithmetic, and the operations that each of them is asked by."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from realm.skills.bits import spaces
from realm.skills.bits.drawing import Way
from realm.skills.bits.operations import Operands, canonical
from realm.skills.skill import PrimitiveInfo

Operations = Literal["core", "all"]

CORE: dict[str, tuple[Way, ...]] = {
    "binary_add_no_carry": (("add", spaces.NO_CARRY),),
    "binary_add_with_carry": (("add", spaces.CARRY),),
    "binary_sub_no_borrow": (("subtract", spaces.NO_BORROW),),
    "binary_sub_with_borrow": (("subtract", spaces.BORROW),),
    "bitwise_and": (("bitwise_and", spaces.AND),),
    "bitwise_or": (("bitwise_or", spaces.OR),),
    "bitwise_xor": (("bitwise_xor", spaces.XOR),),
    # An evaluation takes turns: every third problem is `equals`, and every third of those is true.
    "binary_compare": (
        *(("equals", spaces.EQUAL), ("lessthan", spaces.ORDERED), ("greaterthan", spaces.ORDERED)),
        *(("equals", spaces.UNEQUAL), ("lessthan", spaces.ORDERED), ("greaterthan", spaces.ORDERED)) * 2,
    ),
    "binary_to_decimal": (("todecimal", spaces.TO_DECIMAL),),
    "decimal_to_binary": (("tobinary", spaces.TO_BINARY),),
}

# Drills balance the answers instead: half of each comparison is true, an eighth compares equals.
COMPARE_DRILLS: tuple[Way, ...] = (
    *(("equals", spaces.EQUAL), ("equals", spaces.UNEQUAL)) * 4,
    *(("lessthan", spaces.BELOW),) * 4,
    *(("lessthan", spaces.ABOVE),) * 3,
    ("lessthan", spaces.TIED),
    *(("greaterthan", spaces.BELOW),) * 4,
    *(("greaterthan", spaces.ABOVE),) * 3,
    ("greaterthan", spaces.TIED),
)

_EXTREMES: tuple[Way, ...] = (
    *(("minimum", spaces.MINIMUM), ("maximum", spaces.MAXIMUM)),
    ("absolute_value", spaces.ABSOLUTE),
)

# The other operations of a primitive, and how often its own one is asked for each time that they are.
_MORE: dict[str, tuple[Way, ...]] = {
    "binary_add_no_carry": (("increment", spaces.INCREMENT_EVEN), ("multiply_by_2", spaces.DOUBLE)),
    "binary_add_with_carry": (
        *(("increment", spaces.INCREMENT_ODD), ("multiply", spaces.MULTIPLY)),
        ("signed_add", spaces.SIGNED_ADD),
    ),
    "binary_sub_no_borrow": (("decrement", spaces.DECREMENT_ODD), ("divide_by_2", spaces.HALVE)),
    "binary_sub_with_borrow": (
        *(("decrement", spaces.DECREMENT_EVEN), ("divide", spaces.DIVIDE)),
        *(("signed_subtract", spaces.SIGNED_SUBTRACT), ("negate", spaces.NEGATE)),
    ),
    "binary_compare": _EXTREMES,
}
_REPEATED = {"binary_compare": 1}
_REPEATED_OTHERS = 3


def _all(name: str, core: tuple[Way, ...], more: tuple[Way, ...]) -> tuple[Way, ...]:
    return core * (_REPEATED.get(name, _REPEATED_OTHERS) if more else 1) + more


WAYS: dict[Operations, dict[str, tuple[Way, ...]]] = {
    "core": CORE,
    "all": {name: _all(name, ways, _MORE.get(name, ())) for name, ways in CORE.items()},
}
DRILL_WAYS: dict[Operations, dict[str, tuple[Way, ...]]] = {
    "core": {**CORE, "binary_compare": COMPARE_DRILLS},
    "all": {**WAYS["all"], "binary_compare": COMPARE_DRILLS + _EXTREMES * 3},
}


def _info(name: str, display_name: str, description: str, difficulty: int) -> PrimitiveInfo:
    return PrimitiveInfo(
        name=name, display_name=display_name, description=description, difficulty=difficulty, track="binary"
    )


INFOS = (
    _info("binary_add_no_carry", "Addition without carry", "add(a, b) where no position has two ones", 2),
    _info("binary_add_with_carry", "Addition with carry", "add(a, b) where some position has two ones", 4),
    _info(
        "binary_sub_no_borrow",
        "Subtraction without borrow",
        "subtract(a, b) where every one of b stands over a one of a",
        3,
    ),
    _info(
        "binary_sub_with_borrow",
        "Subtraction with borrow",
        "subtract(a, b), a ≥ b, where some position must borrow",
        5,
    ),
    _info("bitwise_and", "Bitwise and", "bitwise_and(a, b)", 2),
    _info("bitwise_or", "Bitwise or", "bitwise_or(a, b)", 2),
    _info("bitwise_xor", "Bitwise exclusive or", "bitwise_xor(a, b)", 3),
    _info("binary_compare", "Comparison", "equals(a, b), lessthan(a, b), greaterthan(a, b)", 4),
    _info("binary_to_decimal", "Binary to decimal", "todecimal(a), answered in decimal digits", 6),
    _info("decimal_to_binary", "Decimal to binary", "tobinary(d) of a decimal number", 6),
)


def primitive_of(ways: Mapping[str, tuple[Way, ...]], operation: str, operands: Operands) -> str | None:
    """Return the primitive that a problem belongs to, None where no way asks it."""
    operands = canonical(operation, operands)[1]
    return next(
        (
            primitive
            for primitive, some in ways.items()
            for known, space in some
            if known == operation and space.accept(*operands)
        ),
        None,
    )
