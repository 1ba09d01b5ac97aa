"""Memory: facts and lists that the question itself tells, to be found again in it."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Literal

from realm.skills.passive.skill import PassiveConfig, PassiveSkill
from realm.skills.passive.spaces import (
    Arranged,
    Joined,
    Mapped,
    Numbers,
    Operands,
    Pairs,
    Product,
    Rows,
    Space,
    Words,
)
from realm.skills.passive.table import Question, primitive
from realm.skills.passive.words import COLOURS, NAMES, NOUNS, ORDINALS

_LENGTHS = {1: 3, 2: 4, 3: 6, 4: 8, 5: 10}
"""Facts or things to keep in mind."""
_THINGS = ("hat", "cup", "boat", "door", "coat", "ball")


def _facts(count: int) -> Space:
    """People with a thing of some colour each, and the one who is asked about."""

    def there(thing: str, *rest: str | int) -> Operands:
        people, colours, place = rest[:count], rest[count:-1], int(rest[-1])
        told = (f"{who}'s {thing} is {colour}." for who, colour in zip(people, colours, strict=True))
        return " ".join(told), people[place], thing

    def back(told: str, who: str, thing: str) -> Operands | None:
        sentences = [sentence.split(" ") for sentence in str(told).removesuffix(".").split(". ")]
        if any(len(words) != 4 for words in sentences):
            return None
        people = [words[0].removesuffix("'s") for words in sentences]
        if who not in people:
            return None
        return thing, *people, *(words[3] for words in sentences), people.index(who)

    parts = (Words(_THINGS), Arranged(NAMES, count), Rows(COLOURS, count), Numbers(0, count - 1))
    return Mapped(Product(*parts), there, back, arity=3)


def _fact(told: str, who: str, thing: str) -> str:
    return told.partition(f"{who}'s {thing} is ")[2].partition(".")[0]


def _pairs(count: int) -> Space:
    """Pairs of things, and the first half of one of them."""

    def there(*operands: str | int) -> Operands:
        things, place = operands[:-1], int(operands[-1])
        told = ", ".join(f"{a} with {b}" for a, b in zip(things[::2], things[1::2], strict=True))
        return told, things[2 * place]

    def back(told: str, asked: str) -> Operands | None:
        things = str(told).replace(" with ", ", ").split(", ")
        return (*things, things.index(asked) // 2) if asked in things else None

    return Mapped(Product(Arranged(NOUNS, 2 * count), Numbers(0, count - 1)), there, back)


def _partner(told: str, asked: str) -> str:
    return dict(pair.split(" with ") for pair in told.split(", "))[asked]


def _listed(items: tuple[str, ...], length: int) -> Space:
    return Joined(Arranged(items, length), ", ")


def _list_question(name: str, wordings: tuple[str, ...], solve: Callable[[str], str]) -> Question:
    return Question(name, wordings, {n: _listed(NOUNS, length) for n, length in _LENGTHS.items()}, solve)


def _ranks(length: int) -> Space:
    return Product(_listed(NAMES, length), Words(ORDINALS[:length]))


def _neighbours(length: int, *, after: bool) -> Space:
    """A list and one of its things that has another one after it, or before it."""

    def there(*operands: str | int) -> Operands:
        things, place = operands[:-1], int(operands[-1])
        return ", ".join(map(str, things)), things[place if after else place + 1]

    def back(told: str, asked: str) -> Operands | None:
        things = str(told).split(", ")
        return (*things, things.index(asked) - (not after)) if asked in things else None

    return Mapped(Product(Arranged(NOUNS, length), Numbers(0, length - 2)), there, back)


def _neighbour(step: int) -> Callable[[str, str], str]:
    def solve(told: str, asked: str) -> str:
        things = told.split(", ")
        return things[things.index(asked) + step]

    return solve


def _two_of(length: int) -> Space:
    """A list and two of its things, the earlier one first."""

    def there(*operands: str | int) -> Operands:
        *things, low, high = operands
        return ", ".join(map(str, things)), things[int(low)], things[int(high)]

    def back(told: str, one: str, other: str) -> Operands | None:
        things = str(told).split(", ")
        return (*things, things.index(one), things.index(other)) if {one, other} <= set(things) else None

    return Mapped(Product(Arranged(NOUNS, length), Pairs(length - 1)), there, back, arity=3)


def _either_first(operands: Operands, rng: random.Random) -> Operands:
    return operands[0], *rng.sample(operands[1:], 2)


def _earlier_first(asked: Operands) -> Operands | None:
    things = str(asked[0]).split(", ")
    pair = [str(thing) for thing in asked[1:]]
    return (asked[0], *sorted(pair, key=things.index)) if set(pair) <= set(things) else None


def _earlier(told: str, one: str, other: str) -> str:
    return min(one, other, key=told.split(", ").index)


class Memory(PassiveSkill):
    """Drill and grade finding again what was just told."""

    class Config(PassiveConfig):
        """Options of the suite."""

        kind: Literal["memory"] = "memory"

    name = "memory"
    title = "Memory"
    steps = tuple(f"{length} facts or things" for length in _LENGTHS.values())
    table = (
        primitive(
            ("simple_fact", "Facts", "one of several facts about people"),
            1,
            (
                Question(
                    "simple_fact",
                    ("{0} What colour is {1}'s {2}?", "Read this. {0} Now name the colour of {1}'s {2}."),
                    {n: _facts(length) for n, length in _LENGTHS.items()},
                    _fact,
                ),
            ),
        ),
        primitive(
            ("ordinal_fact", "Places", "who came at a place in a race"),
            2,
            (
                Question(
                    "ordinal_fact",
                    (
                        "They finished the race in this order: {0}. Who came {1}?",
                        "The order at the finish was {0}. Name the one who came {1}.",
                    ),
                    {n: _ranks(length) for n, length in _LENGTHS.items()},
                    lambda told, rank: told.split(", ")[ORDINALS.index(rank)],
                ),
            ),
        ),
        primitive(
            ("association_fact", "Associations", "the partner of a thing in a list of pairs"),
            2,
            (
                Question(
                    "association_fact",
                    (
                        "Remember these pairs: {0}. What goes with {1}?",
                        "Things belong together like this: {0}. Name the partner of {1}.",
                    ),
                    {n: _pairs(length) for n, length in _LENGTHS.items()},
                    _partner,
                ),
            ),
        ),
        primitive(
            ("list_recall", "Lists", "a list repeated forwards or backwards"),
            3,
            (
                _list_question(
                    "list_forward",
                    ("Repeat this list in the same order: {0}", "Write this list once more, unchanged: {0}"),
                    lambda told: told,
                ),
                _list_question(
                    "list_backward",
                    (
                        "Repeat this list from the last to the first: {0}",
                        "Write this list in reverse order: {0}",
                    ),
                    lambda told: ", ".join(told.split(", ")[::-1]),
                ),
            ),
        ),
        primitive(
            ("order_recall", "Order", "what stood before or after something in a list"),
            3,
            (
                Question(
                    "order_after",
                    (
                        "Keep in mind: {0}. What came right after {1}?",
                        "A list: {0}. Name what follows {1} in it.",
                    ),
                    {n: _neighbours(length, after=True) for n, length in _LENGTHS.items()},
                    _neighbour(1),
                ),
                Question(
                    "order_ahead",
                    (
                        "Keep in mind: {0}. What came right before {1}?",
                        "A list: {0}. Name what precedes {1} in it.",
                    ),
                    {n: _neighbours(length, after=False) for n, length in _LENGTHS.items()},
                    _neighbour(-1),
                ),
                Question(
                    "order_before",
                    (
                        "Keep in mind: {0}. Which stood earlier, {1} or {2}?",
                        "A list: {0}. Which of {1} and {2} comes earlier in it?",
                    ),
                    {n: _two_of(length) for n, length in _LENGTHS.items()},
                    _earlier,
                    _either_first,
                    _earlier_first,
                ),
            ),
        ),
    )
