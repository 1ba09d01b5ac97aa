"""Combinatorics: how many ways there are."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from math import comb, factorial, perm, prod
from typing import Literal

from realm.skills.passive.skill import PassiveConfig, PassiveSkill
from realm.skills.passive.spaces import Bags, Joined, Mapped, Numbers, Operands, Pairs, Product, Space
from realm.skills.passive.table import Question, primitive

_REPLY = " Answer with the number only."
_LARGEST_FACTORIAL = {1: 6, 2: 8, 3: 10, 4: 12, 5: 15}
_SELECTIONS = {1: (25, 3), 2: (30, 4), 3: (40, 4), 4: (60, 5), 5: (99, 5)}
"""Most things, and how many of them are taken at most."""
_WORDS = {1: 4, 2: 5, 3: 6, 4: 7, 5: 8}
_FACTORS = {1: (30, 2), 2: (20, 3), 3: (12, 4), 4: (15, 5), 5: (20, 5)}
"""Most choices, and how many are made one after another."""
_MARKS = "abeklnorst"


def _ask(
    name: str, wordings: tuple[str, ...], spaces: dict[int, Space], solve: Callable[..., int]
) -> Question:
    return Question(name, tuple(wording + _REPLY for wording in wordings), spaces, solve)


def _two_factorials(name: str, wording: str, solve: Callable[[int, int], int]) -> Question:
    """Two factorials, the larger one first."""
    spaces: dict[int, Space] = {
        n: Mapped(Pairs(largest), lambda a, b: (b, a), lambda a, b: (b, a))
        for n, largest in _LARGEST_FACTORIAL.items()
    }
    return _ask(name, (f"What is {wording}?", f"Work out {wording}."), spaces, solve)


_TAKEN: dict[int, Space] = {
    n: Product(Numbers(2, most), Numbers(most + 1, things + most))
    for n, (things, most) in _SELECTIONS.items()
}


def _permutations(name: str, wordings: tuple[str, ...], solve: Callable[[int, int], int]) -> Question:
    return _ask(name, wordings, _TAKEN, solve)


def _shuffled_letters(operands: Operands, rng: random.Random) -> Operands:
    letters = list(str(operands[0]))
    rng.shuffle(letters)
    return ("".join(letters),)


def _sorted_letters(asked: Operands) -> Operands | None:
    return ("".join(sorted(str(asked[0]))),)


def _letters(length: int) -> Space:
    """Letters in the order of the alphabet, repetition allowed."""
    return Mapped(
        Bags(0, len(_MARKS) - 1, length),
        lambda *marks: ("".join(_MARKS[mark] for mark in marks),),
        lambda text: tuple(map(_MARKS.find, str(text))),
        arity=1,
    )


def _arrangements(text: str) -> int:
    return factorial(len(text)) // prod(map(factorial, Counter(text).values()))


def _shuffled_factors(operands: Operands, rng: random.Random) -> Operands:
    factors = str(operands[0]).split(", ")
    rng.shuffle(factors)
    return (", ".join(factors),)


def _sorted_factors(asked: Operands) -> Operands | None:
    factors = str(asked[0]).split(", ")
    if not all(factor.isdecimal() and factor.isascii() and len(factor) < 4 for factor in factors):
        return None
    return (", ".join(sorted(factors, key=int)),)


class Combinatorics(PassiveSkill):
    """Drill and grade counting of possibilities."""

    class Config(PassiveConfig):
        """Options of the suite."""

        kind: Literal["combinatorics"] = "combinatorics"

    name = "combinatorics"
    title = "Combinatorics"
    steps = tuple(
        f"factorials up to {top}!, up to {_SELECTIONS[n][0]} things" for n, top in _LARGEST_FACTORIAL.items()
    )
    table = (
        primitive(
            ("factorial", "Factorial", "n!, and quotients, sums and differences of two factorials"),
            5,
            (
                _ask(
                    "factorial",
                    ("What is {0}!?", "Work out {0} factorial."),
                    {n: Numbers(0, top) for n, top in _LARGEST_FACTORIAL.items()},
                    factorial,
                ),
                _two_factorials("factorial_ratio", "{0}! / {1}!", lambda a, b: factorial(a) // factorial(b)),
                _two_factorials("factorial_sum", "{0}! + {1}!", lambda a, b: factorial(a) + factorial(b)),
                _two_factorials("factorial_gap", "{0}! - {1}!", lambda a, b: factorial(a) - factorial(b)),
            ),
        ),
        primitive(
            ("permutation_count", "Permutations", "how many ways to put k of n things in order"),
            6,
            (
                _permutations(
                    "permutation_row",
                    (
                        "In how many ways can {0} of {1} different books be placed in a row?",
                        "A club of {1} fills {0} different posts, one member a post. How many ways?",
                    ),
                    lambda k, n: perm(n, k),
                ),
                _permutations(
                    "permutation_first",
                    (
                        "In how many ways can {0} of {1} different books be placed in a row that begins"
                        " with the atlas, which is one of the {1}?",
                    ),
                    lambda k, n: perm(n - 1, k - 1),
                ),
                _permutations(
                    "permutation_ring",
                    (
                        "In how many ways can {0} of {1} people sit at a round table, where turning the table"
                        " makes no difference?",
                    ),
                    lambda k, n: perm(n, k) // k,
                ),
            ),
        ),
        primitive(
            ("combination_count", "Combinations", "how many ways to choose k of n things"),
            6,
            (
                _permutations(
                    "combination",
                    (
                        "In how many ways can a team of {0} be chosen from {1} people?",
                        "A bag holds {1} different stones. In how many ways can you take {0} of them?",
                    ),
                    lambda k, n: comb(n, k),
                ),
                _permutations(
                    "combination_with",
                    (
                        "In how many ways can a team of {0} be chosen from {1} people, if Ada, who is one"
                        " of them, must be in it?",
                    ),
                    lambda k, n: comb(n - 1, k - 1),
                ),
                _permutations(
                    "combination_without",
                    (
                        "In how many ways can a team of {0} be chosen from {1} people, if Ada, who is one"
                        " of them, must not be in it?",
                    ),
                    lambda k, n: comb(n - 1, k),
                ),
            ),
        ),
        primitive(
            ("arrangement_word", "Letter arrangements", "how many orders the letters of a text have"),
            7,
            (
                Question(
                    "arrangement_word",
                    (
                        "How many different strings can be made from all letters of {0}?" + _REPLY,
                        "In how many different orders can the letters of {0} be written?" + _REPLY,
                    ),
                    {n: _letters(length) for n, length in _WORDS.items()},
                    _arrangements,
                    _shuffled_letters,
                    _sorted_letters,
                ),
            ),
        ),
        primitive(
            ("multiplication_principle", "Multiplication", "how many ways to make several choices in turn"),
            4,
            (
                Question(
                    "multiplication_principle",
                    (
                        "A meal has several courses. The numbers of dishes to choose from, course by"
                        " course: {0}. How many different meals are there?" + _REPLY,
                        "A lock has rings with these numbers of signs: {0}. How many settings does it have?"
                        + _REPLY,
                    ),
                    {n: Joined(Bags(2, top, count), ", ") for n, (top, count) in _FACTORS.items()},
                    lambda factors: prod(map(int, factors.split(", "))),
                    _shuffled_factors,
                    _sorted_factors,
                ),
            ),
        ),
    )
