"""The lines that may follow an answer: a check in decimal, the key steps, or a trace position by position.

Positions count from 0 at the least significant digit, whatever the digit order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise

from realm.skills.bits.writing import Call

Lines = Callable[[Call], list[str]]


def verification(call: Call) -> list[str]:
    """Return the check in decimal, such as `Verification: 3 + 1 = 4`."""
    known, decimal = call.known, call.script.decimal
    if not known.check:
        return [f"Verification: {_powers(call)} = {decimal(call.value)}"]
    a, b = call.operands[0], call.operands[-1]
    text = known.check.format(
        a=decimal(a),
        b=decimal(b),
        r=decimal(call.value),
        t="true" if call.value else "false",
        m=decimal(_remainder(call)) if "{m}" in known.check else "",
    )
    return [f"Verification: {text}"]


def key_steps(call: Call) -> list[str]:
    """Return one line: carries, borrows, the deciding position, or what else decides the result."""
    return [_KEY_STEPS[call.operation](call)]


def trace(call: Call) -> list[str]:
    """Return one line a position."""
    return list(_TRACES[call.operation](call))


def _length(call: Call) -> int:
    """Positions that are worked at: the width, or the longest operand's digits."""
    return call.width or max(1, *(n.bit_length() for n in call.operands))


def _remainder(call: Call) -> int:
    divisor = call.operands[1] if len(call.operands) == 2 else 2
    return call.operands[0] % divisor


def _powers(call: Call) -> str:
    powers = [1 << k for k in reversed(range(call.value.bit_length())) if call.value >> k & 1]
    return " + ".join(call.script.decimal(n) for n in powers) or "0"


def _listed(title: str, positions: list[int]) -> str:
    return f"{title}: {', '.join(map(str, positions)) or 'none'}"


def _ones(value: int) -> list[int]:
    return [k for k in range(value.bit_length()) if value >> k & 1]


# --- what is added or subtracted, as bits ---------------------------------------------------


def _addends(call: Call) -> tuple[int, int]:
    mask = (1 << _length(call)) - 1
    second = call.operands[1] if len(call.operands) == 2 else 1
    return call.operands[0] & mask, second & mask


def _minuends(call: Call) -> tuple[int, int]:
    mask = (1 << _length(call)) - 1
    if call.operation in ("negate", "absolute_value"):
        return 0, call.operands[0] & mask
    return _addends(call)


def _carried(a: int, b: int) -> int:
    """Return the positions that a carry comes out of."""
    return (a + b ^ a ^ b) >> 1


def _borrowed(a: int, b: int, length: int) -> int:
    """Return the positions that borrow from the next one."""
    into = (a - b ^ a ^ b) & (2 << length) - 1
    return into >> 1


def _adding_steps(call: Call) -> str:
    return _listed("Carries out of positions", _ones(_carried(*_addends(call))))


def _subtracting_steps(call: Call) -> str:
    a, b = _minuends(call)
    return _listed("Borrows at positions", _ones(_borrowed(a, b, _length(call))))


def _adding(call: Call) -> Iterator[str]:
    (a, b), signs, carry = _addends(call), call.script.signs, 0
    for k in range(_length(call)):
        x, y = a >> k & 1, b >> k & 1
        total = x + y + carry
        yield (
            f"position {k}: {signs[x]} + {signs[y]} + {signs[carry]} = {signs[total & 1]} "
            f"carry {signs[total >> 1]}"
        )
        carry = total >> 1


def _subtracting(call: Call) -> Iterator[str]:
    (a, b), signs, borrow = _minuends(call), call.script.signs, 0
    for k in range(_length(call)):
        x, y = a >> k & 1, b >> k & 1
        total = x - y - borrow
        yield (
            f"position {k}: {signs[x]} - {signs[y]} - {signs[borrow]} = {signs[total & 1]} "
            f"borrow {signs[total < 0]}"
        )
        borrow = int(total < 0)


def _magnitude_steps(call: Call) -> str:
    return "Positive: unchanged" if call.operands[0] >= 0 else _subtracting_steps(call)


def _magnitude(call: Call) -> Iterator[str]:
    return iter([_magnitude_steps(call)]) if call.operands[0] >= 0 else _subtracting(call)


# --- digit by digit -------------------------------------------------------------------------


def _digits(call: Call) -> Iterator[str]:
    (a, b), signs, value = call.operands, call.script.signs, call.value
    word = call.operation.removeprefix("bitwise_")
    for k in range(_length(call)):
        yield f"position {k}: {signs[a >> k & 1]} {word} {signs[b >> k & 1]} = {signs[value >> k & 1]}"


def _digit_steps(call: Call) -> str:
    return _listed("Ones at positions", _ones(call.value))


def _deciding(call: Call) -> str:
    a, b = call.operands
    if a == b:
        return "Deciding position: none"
    k = (a ^ b).bit_length() - 1
    return f"Deciding position: {k}, where {_compared(call, k)}"


def _compared(call: Call, k: int) -> str:
    signs = call.script.signs
    x, y = (n >> k & 1 for n in call.operands)
    return f"{signs[x]} {'<=>'[(x > y) - (x < y) + 1]} {signs[y]}"


def _comparing(call: Call) -> Iterator[str]:
    a, b = call.operands
    last = max(0, (a ^ b).bit_length() - 1)
    return (f"position {k}: {_compared(call, k)}" for k in reversed(range(last, _length(call))))


# --- shifting, multiplying, dividing --------------------------------------------------------


def _doubling(call: Call) -> Iterator[str]:
    signs = call.script.signs
    yield f"position 0: {signs[0]}"
    for k in range(_length(call)):
        yield f"position {k + 1}: {signs[call.operands[0] >> k & 1]}"


def _halving(call: Call) -> Iterator[str]:
    signs = call.script.signs
    yield f"dropped: {signs[call.operands[0] & 1]}"
    for k in range(1, _length(call)):
        yield f"position {k - 1}: {signs[call.operands[0] >> k & 1]}"


def _multiplying(call: Call) -> Iterator[str]:
    (a, b), script, total = call.operands, call.script, 0
    for k in range(_length(call)):
        if k and not b >> k:
            return
        total += (b >> k & 1) * a << k
        yield f"position {k}: {script.signs[b >> k & 1]}, sum {script.binary(total)}"


def _dividing(call: Call) -> Iterator[str]:
    (a, b), script, rest = call.operands, call.script, 0
    for k in reversed(range(_length(call))):
        rest = rest << 1 | a >> k & 1
        digit, rest = divmod(rest, b)
        yield f"position {k}: {script.signs[digit]}, remainder {script.binary(rest)}"


def _dividing_steps(call: Call) -> str:
    ones = _listed("Quotient has ones at positions", _ones(call.value))
    return f"{ones}; remainder {call.script.binary(_remainder(call))}"


# --- conversions ----------------------------------------------------------------------------


def _summing(call: Call) -> str:
    return f"Powers: {_powers(call)}"


def _reading(call: Call) -> Iterator[str]:
    """Double and add, from the most significant digit."""
    decimal, length = call.script.decimal, _length(call)
    states = [call.value >> k for k in reversed(range(length + 1))]
    for k, (before, after) in enumerate(pairwise(states)):
        step = f"{decimal(before)} * 2 + {after & 1} = {decimal(after)}"
        yield f"position {length - 1 - k}: {step}"


def _halvings(call: Call) -> Iterator[str]:
    """Halve until nothing is left; the remainders are the digits."""
    decimal, rest = call.script.decimal, call.value
    for k in range(max(1, call.value.bit_length())):
        yield f"position {k}: {decimal(rest)} / 2 = {decimal(rest >> 1)} remainder {rest & 1}"
        rest >>= 1


_ADDING = ("add", "signed_add", "increment")
_SUBTRACTING = ("subtract", "signed_subtract", "decrement", "negate")
_BITWISE = ("bitwise_and", "bitwise_or", "bitwise_xor")
_COMPARING = ("equals", "lessthan", "greaterthan", "minimum", "maximum")

_KEY_STEPS: dict[str, Callable[[Call], str]] = {
    **dict.fromkeys(_ADDING, _adding_steps),
    **dict.fromkeys(_SUBTRACTING, _subtracting_steps),
    **dict.fromkeys(_BITWISE, _digit_steps),
    **dict.fromkeys(_COMPARING, _deciding),
    "absolute_value": _magnitude_steps,
    "multiply": lambda call: _listed("Shifts added", _ones(call.operands[1])),
    "multiply_by_2": lambda call: f"Shifted up, {call.script.signs[0]} added",
    "divide": _dividing_steps,
    "divide_by_2": lambda call: f"Shifted down, {call.script.signs[call.operands[0] & 1]} dropped",
    "todecimal": _summing,
    "tobinary": _summing,
}
_TRACES: dict[str, Callable[[Call], Iterator[str]]] = {
    **dict.fromkeys(_ADDING, _adding),
    **dict.fromkeys(_SUBTRACTING, _subtracting),
    **dict.fromkeys(_BITWISE, _digits),
    **dict.fromkeys(_COMPARING, _comparing),
    "absolute_value": _magnitude,
    "multiply": _multiplying,
    "multiply_by_2": _doubling,
    "divide": _dividing,
    "divide_by_2": _halving,
    "todecimal": _reading,
    "tobinary": _halvings,
}

VARIANTS: dict[str, Lines] = {"verify": verification, "show-work": key_steps, "trace": trace}
"""What each form adds below the first line."""
