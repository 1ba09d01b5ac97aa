"""How hard a level is: six dimensions, none of which ever falls from one level to the next."""

from __future__ import annotations

from functools import cache
from typing import Annotated

from pydantic import Field

from realm.core.records import Record

LEVELS = 50
WEAKER_CLUES = (11, 21, 36)
"""Levels at which clues become weaker."""
ALL_LETTERS = 25
"""Last level at which a word to be found without tiles shows its first letter."""


class Dimensions(Record):
    """What the puzzles of one level are made of."""

    level: Annotated[int, Field(ge=1)]
    words: Annotated[int, Field(ge=2)]
    """Words of a puzzle with several, and of a bank of words."""
    syllables: tuple[int, int]
    """Fewest and most syllables of a word."""
    rarity: tuple[int, int]
    """Lowest and highest rarity of a word."""
    shared: Annotated[float, Field(ge=0, le=1)]
    """Share of a puzzle's words that have a syllable in common with another of them."""
    herrings: Annotated[int, Field(ge=0)]
    """Tiles that no word needs."""
    hints: Annotated[int, Field(ge=1, le=4)]
    """How weak clues are: 1 definition, synonym … 4 etymology, first letter."""


@cache
def table() -> tuple[Dimensions, ...]:
    """Return the dimensions of all fifty levels, lowest first."""
    return tuple(_dimensions(level) for level in range(1, LEVELS + 1))


def _dimensions(level: int) -> Dimensions:
    progress = (level - 1) / (LEVELS - 1)
    return Dimensions(
        level=level,
        words=4 + round(6 * progress),
        syllables=(2 + _reached(level, 21, 46), 3 + _reached(level, 16, 29, 41)),
        rarity=(1 + _reached(level, 36, 46), 1 + _reached(level, 8, 16, 26, 36)),
        shared=round(0.8 * progress, 2),
        herrings=round(6 * progress),
        hints=1 + _reached(level, *WEAKER_CLUES),
    )


def _reached(level: int, *steps: int) -> int:
    return sum(level >= step for step in steps)
