"""Sequences: five terms are given, the sixth is asked. Each row of numbers fits one rule only."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Literal

from realm.skills.passive.skill import PassiveConfig, PassiveSkill
from realm.skills.passive.spaces import Mapped, Numbers, Operands, Product, Space
from realm.skills.passive.table import Primitive, Question, primitive

_WORDINGS = (
    "What number comes next: {0}, {1}, {2}, {3}, {4}? Answer with the number only.",
    "Continue the sequence {0}, {1}, {2}, {3}, {4} by one number. Answer with the number only.",
)
_REACH = {1: 20, 2: 50, 3: 100, 4: 300, 5: 999}
"""Largest first term."""


def _arithmetic(start: int, step: int) -> Operands:
    return tuple(start + step * n for n in range(6))


def _geometric(start: int, ratio: int) -> Operands:
    return tuple(start * ratio**n for n in range(6))


def _fibonacci(first: int, second: int) -> Operands:
    terms = [first, second]
    while len(terms) < 6:
        terms.append(terms[-2] + terms[-1])
    return tuple(terms)


def _alternating(start: int, up: int, down: int) -> Operands:
    return tuple(start + up * ((n + 1) // 2) - down * (n // 2) for n in range(6))


def _square(first: int, factor: int, offset: int) -> Operands:
    return tuple(factor * (first + n) ** 2 + offset for n in range(6))


def _five(terms: Operands) -> tuple[int, ...] | None:
    numbers = tuple(n for n in terms if isinstance(n, int))
    return numbers if len(numbers) == 5 else None


def _arithmetic_of(*terms: int) -> Operands:
    return terms[0], terms[1] - terms[0]


def _geometric_of(*terms: int) -> Operands:
    return terms[0], terms[1] // (terms[0] or 1)


def _fibonacci_of(*terms: int) -> Operands:
    return terms[:2]


def _alternating_of(*terms: int) -> Operands:
    return terms[0], terms[1] - terms[0], terms[1] - terms[2]


def _square_of(*terms: int) -> Operands:
    """Second differences are twice the factor; the first difference then tells the first root."""
    steps = [b - a for a, b in pairwise(terms)]
    factor = (steps[1] - steps[0]) // 2 or 1
    first = (steps[0] // factor - 1) // 2
    return first, factor, terms[0] - factor * first**2


def _row(
    info: tuple[str, str, str],
    difficulty: int,
    terms: Callable[..., Operands],
    parameters: Callable[..., Operands],
    spaces: dict[int, Space],
) -> Primitive:
    def there(*operands: int) -> Operands:
        return terms(*operands)[:5]

    def back(*shown: int) -> Operands | None:
        five = _five(shown)
        return parameters(*five) if five else None

    def solve(*shown: int) -> int:
        return int(terms(*parameters(*shown))[5])

    rows: dict[int, Space] = {n: Mapped(space, there, back, arity=5) for n, space in spaces.items()}
    question = Question(f"sequence_{info[0]}", _WORDINGS, rows, solve)
    return primitive(info, difficulty, (question,), "arithmetic")


class Sequence(PassiveSkill):
    """Drill and grade the continuing of number sequences."""

    class Config(PassiveConfig):
        """Options of the suite."""

        kind: Literal["sequence"] = "sequence"

    name = "sequence"
    title = "Number sequences"
    steps = tuple(f"sequences that begin with 0 to {reach}" for reach in _REACH.values())
    table = (
        _row(
            ("arithmetic", "Equal steps", "each term is the one before plus a fixed number"),
            2,
            _arithmetic,
            _arithmetic_of,
            {n: Product(Numbers(0, reach), Numbers(1, reach)) for n, reach in _REACH.items()},
        ),
        _row(
            ("geometric", "Equal ratios", "each term is the one before times a fixed number"),
            4,
            _geometric,
            _geometric_of,
            {n: Product(Numbers(1, reach), Numbers(2, 7 + n)) for n, reach in _REACH.items()},
        ),
        _row(
            ("fibonacci", "Sums of two", "each term is the sum of the two before it"),
            4,
            _fibonacci,
            _fibonacci_of,
            {n: Product(Numbers(0, reach), Numbers(1, reach)) for n, reach in _REACH.items()},
        ),
        _row(
            ("alternating", "Alternating steps", "a step up and a step down take turns"),
            5,
            _alternating,
            _alternating_of,
            {
                n: Product(Numbers(0, reach), Numbers(1, 9 * n), Numbers(1, 9 * n))
                for n, reach in _REACH.items()
            },
        ),
        _row(
            ("square", "Squares", "squares in a row, multiplied and shifted by fixed numbers"),
            6,
            _square,
            _square_of,
            {n: Product(Numbers(1, 10 * n), Numbers(1, n + 1), Numbers(0, 10 * n)) for n in _REACH},
        ),
    )
