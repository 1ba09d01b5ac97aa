"""Strategies: how the rows of one round of drills are spread over a hero's skills."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

from realm.core.records import Record

StrategyName = Literal["equal", "focus", "weighted", "catch_up"]

FOCUS_SHARE = 0.7
"""Share of the rows that goes to the skill in focus."""


class Standing(Record):
    """What a strategy knows of one skill."""

    skill: str
    priority: int
    weight: float
    need: float
    """Mean share of errors over the primitives of the training level, in [0, 1]."""
    gained: int
    """Levels between the first one and the training level."""


Strategy = Callable[[Sequence[Standing]], list[float]]
"""Takes the skills, one at least, and returns the relative share of each."""


def equal(skills: Sequence[Standing]) -> list[float]:
    """Give every skill the same."""
    return [1.0] * len(skills)


def weighted(skills: Sequence[Standing]) -> list[float]:
    """Give every skill its configured weight."""
    return [skill.weight for skill in skills]


def focus(skills: Sequence[Standing]) -> list[float]:
    """Give one skill most: of the highest priority the one with the most errors; the first of equals."""
    if len(skills) == 1:
        return [1.0]
    chosen = max(range(len(skills)), key=lambda i: (skills[i].priority, skills[i].need, -i))
    rest = (1.0 - FOCUS_SHARE) / (len(skills) - 1)
    return [FOCUS_SHARE if i == chosen else rest for i in range(len(skills))]


def catch_up(skills: Sequence[Standing]) -> list[float]:
    """Give a skill one part more for each level that it is behind the best one."""
    best = max(skill.gained for skill in skills)
    return [1.0 + best - skill.gained for skill in skills]


STRATEGIES: Mapping[StrategyName, Strategy] = {
    "equal": equal,
    "focus": focus,
    "weighted": weighted,
    "catch_up": catch_up,
}


def spread(strategy: StrategyName, skills: Sequence[Standing], total: int) -> dict[str, int]:
    """Return the rows of each skill in the order in which they are drilled; they sum to `total`.

    Higher priority comes first, then more rows, then the order given. Rows are rounded by largest
    remainders; a skill that would get none is left out.
    """
    if not skills:
        return {}
    shares = STRATEGIES[strategy](skills)
    exact = [total * share / sum(shares) for share in shares]
    rows = [int(each) for each in exact]
    by_remainder = sorted(range(len(skills)), key=lambda i: (rows[i] - exact[i], i))
    for index in by_remainder[: total - sum(rows)]:
        rows[index] += 1
    order = sorted(range(len(skills)), key=lambda i: (-skills[i].priority, -rows[i], i))
    return {skills[i].skill: rows[i] for i in order if rows[i]}
