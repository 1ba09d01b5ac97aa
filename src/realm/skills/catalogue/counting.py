"""Counting: letters, things and numbers."""

from __future__ import annotations

from string import ascii_lowercase
from typing import Literal

from realm.skills.passive.skill import PassiveConfig, PassiveSkill
from realm.skills.passive.spaces import Joined, Mapped, Numbers, Product, Rows, Space, Words
from realm.skills.passive.table import Question, primitive

_LENGTHS = {1: (3, 4, 5), 2: (4, 6, 8), 3: (6, 8, 10), 4: (8, 11, 14), 5: (10, 15, 20)}
"""Three lengths of text or list at each level."""
_RANGES = {1: 20, 2: 99, 3: 500, 4: 2000, 5: 9999}
_THINGS = ("cup", "spoon", "plate", "candle", "button", "pencil")
_FEW = "aeinst"


def _texts(place: int, letters: str = ascii_lowercase) -> dict[int, Space]:
    return {n: Joined(Rows(letters, lengths[place])) for n, lengths in _LENGTHS.items()}


def _count_char(place: int) -> Question:
    return Question(
        "count_char",
        (
            "How many times does the letter {0} occur in {1}? Answer with the number only.",
            "Count the letter {0} in {1}. Answer with the number only.",
        ),
        {n: Product(Words(_FEW), space) for n, space in _texts(place, _FEW).items()},
        lambda letter, text: text.count(letter),
    )


def _string_length(place: int) -> Question:
    return Question(
        "string_length",
        (
            "How many letters does {0} have? Answer with the number only.",
            "What is the length of the text {0}? Answer with the number only.",
        ),
        _texts(place),
        len,
    )


def _count_objects(place: int) -> Question:
    return Question(
        "count_objects",
        (
            "On the table: {1}. How many times is there a {0}? Answer with the number only.",
            "Count every {0} in this list: {1}. Answer with the number only.",
        ),
        {
            n: Product(Words(_THINGS), Joined(Rows(_THINGS, lengths[place]), ", "))
            for n, lengths in _LENGTHS.items()
        },
        lambda thing, things: things.split(", ").count(thing),
    )


def _count_vowels(place: int) -> Question:
    return Question(
        "count_vowels",
        (
            "How many vowels (a, e, i, o, u) are in {0}? Answer with the number only.",
            "Count the letters a, e, i, o and u in {0}. Answer with the number only.",
        ),
        _texts(place, "aeioubdfglmnprst"),
        lambda text: sum(letter in "aeiou" for letter in text),
    )


class Counting(PassiveSkill):
    """Drill and grade counting."""

    class Config(PassiveConfig):
        """Options of the suite."""

        kind: Literal["counting"] = "counting"

    name = "counting"
    title = "Counting"
    alphabet = "0123456789" + ascii_lowercase
    steps = tuple(f"{lengths[0]} to {lengths[-1]} letters or things" for lengths in _LENGTHS.values())
    table = (
        primitive(
            ("string_length", "Length", "how many letters a text has"),
            2,
            tuple(_string_length(place) for place in range(3)),
            "string",
        ),
        primitive(
            ("count_char", "Letter count", "how often a letter occurs in a text"),
            3,
            tuple(_count_char(place) for place in range(3)),
            "string",
        ),
        primitive(
            ("count_objects", "Things", "how often a thing occurs in a list"),
            2,
            tuple(_count_objects(place) for place in range(3)),
            "arithmetic",
        ),
        primitive(
            ("count_vowels", "Vowels", "how many vowels a text has"),
            3,
            tuple(_count_vowels(place) for place in range(3)),
        ),
        primitive(
            ("count_range", "Numbers in a range", "how many whole numbers lie between two, both included"),
            3,
            (
                Question(
                    "count_range",
                    (
                        "How many whole numbers are there from {0} to {1}, both included?"
                        " Answer with the number only.",
                        "Counting from {0} to {1}, how many numbers do you say? Answer with the number only.",
                    ),
                    {
                        n: Mapped(
                            Product(Numbers(0, largest), Numbers(1, largest)),
                            lambda a, more: (a, a + more),
                            lambda a, b: (a, b - a) if isinstance(a, int) and isinstance(b, int) else None,
                        )
                        for n, largest in _RANGES.items()
                    },
                    lambda a, b: b - a + 1,
                ),
            ),
        ),
    )
