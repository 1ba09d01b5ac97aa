"""Arithmetic: small facts about whole numbers, in decimal."""

from __future__ import annotations

import operator
import random
from collections.abc import Callable
from typing import Literal

from realm.skills.passive.skill import PassiveConfig, PassiveSkill
from realm.skills.passive.spaces import Mapped, Numbers, Operands, Product, Space, Value, Words
from realm.skills.passive.table import Question, primitive

_DIGITS = {1: 3, 2: 4, 3: 5, 4: 7, 5: 9}
_LARGEST = {1: 20, 2: 50, 3: 99, 4: 500, 5: 999}
_DIVISORS = {1: 5, 2: 9, 3: 12, 4: 25, 5: 99}

_SIGNS = ("#", "@", "$", "%", "&", "~", "!", "^")
_MEANINGS: dict[str, Callable[[int, int], int]] = {
    "plus": operator.add,
    "times": operator.mul,
    "minus": operator.sub,
}

_NUMBERS: dict[int, Space] = {n: Numbers(10, 10**digits - 1) for n, digits in _DIGITS.items()}


def _apart(first: int, last: int) -> dict[int, Space]:
    """Two numbers, the second larger by so much."""
    return {
        n: Mapped(
            Product(Numbers(0, 10 ** (digits - 1)), Numbers(first, min(last, 10 ** (digits - 1)))),
            lambda a, gap: (a, a + gap),
            lambda a, b: (a, b - a) if isinstance(a, int) and isinstance(b, int) else None,
        )
        for n, digits in _DIGITS.items()
    }


def _mix_pair(operands: Operands, rng: random.Random) -> Operands:
    a, b = rng.sample(operands, 2)
    return rng.choice(("larger", "smaller")), a, b


def _rising(asked: Operands) -> Operands | None:
    word, *numbers = asked
    whole = [n for n in numbers if isinstance(n, int)]
    return tuple(sorted(whole)) if word in ("larger", "smaller") and len(whole) == 2 else None


def _extreme(word: str, a: int, b: int) -> Value:
    return max(a, b) if word == "larger" else min(a, b)


def _mapped_sums(level: int) -> Space:
    """A meaning whose operands may change places, and the smaller operand first."""
    return Product(
        Words(("plus", "times")),
        Mapped(
            Product(Numbers(2, _LARGEST[level]), Numbers(0, _LARGEST[level])),
            lambda a, gap: (a, a + gap),
            lambda a, b: (a, b - a) if isinstance(a, int) and isinstance(b, int) else None,
        ),
    )


def _with_sign(operands: Operands, rng: random.Random) -> Operands:
    meaning, *numbers = operands
    if meaning != "minus":
        rng.shuffle(numbers)
    return rng.choice(_SIGNS), meaning, *numbers


def _without_sign(asked: Operands) -> Operands | None:
    sign, meaning, a, b = asked
    if sign not in _SIGNS or not isinstance(a, int) or not isinstance(b, int):
        return None
    return (meaning, a, b) if meaning == "minus" else (meaning, min(a, b), max(a, b))


def _mapped(sign: str, meaning: str, a: int, b: int) -> Value:
    return _MEANINGS[meaning](a, b)


def _compare(spaces: dict[int, Space]) -> Question:
    return Question(
        "compare_integers",
        ("Which number is {0}: {1} or {2}?", "Of {1} and {2}, which is the {0} number?"),
        spaces,
        _extreme,
        _mix_pair,
        _rising,
    )


def _map(spaces: dict[int, Space]) -> Question:
    return Question(
        "operation_map",
        (
            "The sign {0} means {1}. What is {2} {0} {3}? Answer with the number only.",
            "Let a {0} b stand for a {1} b. Work out {2} {0} {3}. Answer with the number only.",
        ),
        spaces,
        _mapped,
        _with_sign,
        _without_sign,
    )


class Arithmetic(PassiveSkill):
    """Drill and grade small facts about whole numbers."""

    class Config(PassiveConfig):
        """Options of the suite."""

        kind: Literal["arithmetic"] = "arithmetic"

    name = "arithmetic"
    title = "Arithmetic"
    steps = tuple(f"numbers of up to {digits} digits" for digits in _DIGITS.values())
    table = (
        primitive(
            ("digit_sum", "Digit sum", "the sum of a number's digits"),
            2,
            (
                Question(
                    "digit_sum",
                    (
                        "What is the sum of the digits of {0}? Answer with the number only.",
                        "Add up the digits of {0}. Answer with the number only.",
                    ),
                    _NUMBERS,
                    lambda n: sum(map(int, str(n))),
                ),
            ),
            "arithmetic",
        ),
        primitive(
            ("parity", "Parity", "whether a number is even or odd"),
            1,
            (
                Question(
                    "parity",
                    ("Is {0} even or odd?", "Say whether the number {0} is even or odd."),
                    _NUMBERS,
                    lambda n: "odd" if n % 2 else "even",
                ),
            ),
            "arithmetic",
        ),
        primitive(
            ("compare_integers", "Comparison", "the larger or the smaller of two numbers"),
            1,
            (_compare(_apart(1, 9)), _compare(_apart(10, 10**9))),
            "arithmetic",
        ),
        primitive(
            ("modulo", "Remainder", "the remainder of a division"),
            4,
            (
                Question(
                    "modulo",
                    (
                        "What is the remainder when {0} is divided by {1}? Answer with the number only.",
                        "What is {0} modulo {1}? Answer with the number only.",
                    ),
                    {n: Product(_NUMBERS[n], Numbers(2, _DIVISORS[n])) for n in _DIGITS},
                    lambda a, b: a % b,
                ),
            ),
            "arithmetic",
        ),
        primitive(
            ("operation_map", "Mapped operation", "a sign that stands for plus, minus or times"),
            3,
            (
                _map({n: _mapped_sums(n) for n in _LARGEST}),
                _map(
                    {
                        n: Product(Words(("minus",)), Numbers(0, largest), Numbers(0, largest))
                        for n, largest in _LARGEST.items()
                    }
                ),
            ),
            "arithmetic",
        ),
    )
