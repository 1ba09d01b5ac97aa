"""How hard a level is: six dimensions, of which each level raises one or two and lowers none."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Annotated

from pydantic import Field

from realm.core.records import Record

LEVELS = 50
MOST_TILES = 31
"""Tiles of a bank at most, herrings included."""

_WORDS = (4, 10, 18, 30, 39, 45)
"""Levels from which a puzzle has one word more."""
_FEWEST_SYLLABLES, _MOST_SYLLABLES = (21, 49), (8, 28, 40)
_LOWEST_RARITY, _HIGHEST_RARITY = (37, 47), (5, 13, 23, 33)
_SHARED = (3, 3, 6, 9, 15, 19, 24, 27, 31, 34, 38, 42, 44, 46, 48, 50)
"""Levels from which 5 % more of the blanks share a tile; level 3 begins with 10 %, which is one pair."""
_HERRINGS = (2, 7, 16, 26, 35, 43)
_HINTS = (11, 12, 14, 17, 20, 22, 25, 29, 32, 36, 41, 46)
"""Levels from which clues are a quarter of a row weaker."""


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
    """Share of a puzzle's blanks whose tile serves another blank too."""
    herrings: Annotated[int, Field(ge=0)]
    """Tiles that no word needs."""
    hints: Annotated[float, Field(ge=1, le=4)]
    """How weak clues are: 1 definition, synonym … 4 etymology, first letter. 2.25 is row 2, and of each
    four clues one of row 3."""


@cache
def table() -> tuple[Dimensions, ...]:
    """Return the dimensions of all fifty levels, lowest first."""
    return tuple(_dimensions(level) for level in range(1, LEVELS + 1))


def _dimensions(level: int) -> Dimensions:
    def reached(steps: Sequence[int]) -> int:
        return sum(level >= step for step in steps)

    return Dimensions(
        level=level,
        words=4 + reached(_WORDS),
        syllables=(2 + reached(_FEWEST_SYLLABLES), 3 + reached(_MOST_SYLLABLES)),
        rarity=(1 + reached(_LOWEST_RARITY), 1 + reached(_HIGHEST_RARITY)),
        shared=reached(_SHARED) / 20,
        herrings=reached(_HERRINGS),
        hints=1 + reached(_HINTS) / 4,
    )
