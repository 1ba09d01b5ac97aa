"""Whether every domain has as many rows as it should, and what is missing."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated

from pydantic import Field

from realm.core.config import Config
from realm.core.records import Record
from realm.corpus.assembly.partition import NONE
from realm.corpus.shaper import Row
from realm.corpus.texts.wording import tag

CROSS = "cross-domain"
JOINT = "+"
"""Between the domains of a row that joins several: `flecs+godot`."""


class BalanceConfig(Config):
    """How many rows each value of a tag should have."""

    by: str = "domain"
    rows: Annotated[int, Field(ge=1)] = 2000
    """Rows of each value that has no target of its own."""
    targets: dict[str, Annotated[int, Field(ge=0)]] = Field(default_factory=dict)
    """Targets of single values; a value named here is reported even where it has no rows."""
    tolerance: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Share of the target by which a value may be over or under."""
    cross: Annotated[int, Field(ge=0)] = 200
    """Rows in all that join several values; more are welcome."""


class Standing(Record):
    """How one value stands."""

    value: str
    rows: int
    target: int
    lowest: int
    highest: int | None
    """None where more are welcome."""
    missing: int
    """Rows to reach the lowest."""
    surplus: int
    """Rows above the highest."""

    @property
    def balanced(self) -> bool:
        """Whether the value is within its bounds."""
        return not self.missing and not self.surplus


class Balance(Record):
    """How all values stand, most missing first."""

    by: str
    standings: tuple[Standing, ...]
    untagged: int
    """Rows without the tag; they count for nobody."""

    @property
    def balanced(self) -> bool:
        """Whether every value is within its bounds."""
        return all(standing.balanced for standing in self.standings)


def value_of(row: Row, by: str) -> str:
    """Return the value of a row's tag, `none` where it has none."""
    return tag(row, by) or NONE


def balance(counts: Mapping[str, int], config: BalanceConfig) -> Balance:
    """Compare counts with targets. A value with `+` joins several and counts as cross-domain."""
    single = {value: n for value, n in counts.items() if JOINT not in value and value != NONE}
    for value in config.targets:
        single.setdefault(value, 0)
    standings = [
        _standing(value, rows, config.targets.get(value, config.rows), config.tolerance)
        for value, rows in single.items()
    ]
    joint = sum(n for value, n in counts.items() if JOINT in value)
    if config.cross:
        short = max(0, config.cross - joint)
        standings.append(
            Standing(
                value=CROSS,
                rows=joint,
                target=config.cross,
                lowest=config.cross,
                highest=None,
                missing=short,
                surplus=0,
            )
        )
    ordered = sorted(standings, key=lambda each: (-each.missing, -each.surplus, each.value))
    return Balance(by=config.by, standings=tuple(ordered), untagged=counts.get(NONE, 0))


def _standing(value: str, rows: int, target: int, tolerance: float) -> Standing:
    # A hair's breadth, because 1.1 · 2000 is 2200.0000000000005 in binary.
    lowest = math.ceil(target * (1 - tolerance) - 1e-9)
    highest = math.floor(target * (1 + tolerance) + 1e-9)
    return Standing(
        value=value,
        rows=rows,
        target=target,
        lowest=lowest,
        highest=highest,
        missing=max(0, lowest - rows),
        surplus=max(0, rows - highest),
    )
