"""Compare two ways over repeated seeds: a difference of shares with a 95 % interval.

With several seeds a seed is the unit: Student's t of the seeds' paired differences, which holds
what another seed, other first weights or other drills would change. With one seed only the problems
can be drawn again, so the interval speaks for that seed alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from statistics import fmean, stdev

from realm.core.errors import UsageError
from realm.core.records import Record
from realm.evaluation.statistics import bootstrap

_T_975 = (
    *(12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228),
    *(2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086),
    *(2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042),
)
"""Two-sided 95 % quantiles of Student's t for 1 to 30 degrees of freedom; above, the last is wide enough."""

Seed = Sequence[Sequence[tuple[bool, bool]]]
"""One seed's pairs by skill: whether a, and whether b, was right on the same problem."""


class Comparison(Record):
    """How much better b is than a."""

    difference: float
    """Of the mean share over skills, b minus a."""
    low: float
    high: float
    method: str


def student_975(degrees: int) -> float:
    """Return the two-sided 95 % quantile of Student's t for one degree of freedom or more."""
    return _T_975[min(degrees, len(_T_975)) - 1]


def compare_seeds(seeds: Sequence[Seed], *, purpose: str) -> Comparison:
    """Return the mean difference over seeds and its interval. Every skill counts the same.

    Raises UsageError where a seed or a skill has no pairs.
    """
    if not seeds or not all(seed and all(seed) for seed in seeds):
        raise UsageError("there is nothing to compare", hint="ask both sides the same problems")
    found = [_difference(seed) for seed in seeds]
    if len(found) == 1:
        return _of_one(seeds[0], purpose)
    centre = fmean(found)
    half = student_975(len(found) - 1) * stdev(found) / sqrt(len(found))
    return Comparison(
        difference=centre,
        low=max(-1.0, centre - half),
        high=min(1.0, centre + half),
        method=f"Student's t of the paired differences of {len(found)} seeds",
    )


def _difference(seed: Seed) -> float:
    return fmean(fmean(b - a for a, b in pairs) for pairs in seed)


def _of_one(seed: Seed, purpose: str) -> Comparison:
    flat = [(skill, b - a) for skill, pairs in enumerate(seed) for a, b in pairs]

    def statistic(places: list[int]) -> float:
        drawn: dict[int, list[int]] = {}
        for place in places:
            skill, value = flat[place]
            drawn.setdefault(skill, []).append(value)
        return fmean(fmean(values) for values in drawn.values())

    low, high = bootstrap(len(flat), statistic, purpose=purpose)
    return Comparison(
        difference=_difference(seed),
        low=low,
        high=high,
        method=f"bootstrap over {len(flat)} paired problems of one seed, so it speaks for this seed alone",
    )
