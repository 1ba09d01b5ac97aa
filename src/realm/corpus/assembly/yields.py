"""How much of what generators make is accepted, and what validators reject, version by version."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Annotated

from pydantic import Field

from realm.core.errors import ConfigError
from realm.core.records import Record
from realm.corpus.tally import Reason, Tally

Count = Annotated[int, Field(ge=0)]

_Z = 1.959964
"""Two-sided 95 % of the normal distribution."""


class Yield(Record):
    """What came of the rows that one generator made, or that one validator looked at."""

    name: str
    version: str
    accepted: Count
    rejected: tuple[Reason, ...] = ()

    @property
    def seen(self) -> int:
        """Rows in all."""
        return self.accepted + sum(reason.count for reason in self.rejected)

    @property
    def rate(self) -> float | None:
        """Share that was accepted, None where there were no rows."""
        return self.accepted / self.seen if self.seen else None


class ReasonChange(Record):
    """How often one reason came up, a thousand rows."""

    reason: str
    before_per_1000: float
    after_per_1000: float


class Change(Record):
    """Two versions of one generator or validator, set beside each other."""

    name: str
    before: str
    after: str
    difference: float
    """Of the accepted shares, after minus before."""
    low: float
    high: float
    """Bounds of the difference, 95 % (Newcombe 1998, method 10)."""
    reasons: tuple[ReasonChange, ...]
    """Those whose rate changed most first."""

    @property
    def certain(self) -> bool:
        """Whether chance alone would hardly give such a difference."""
        return self.low > 0 or self.high < 0


def yield_of(identity: str, accepted: int, tally: Tally) -> Yield:
    """Return the yield of `id@version`. Raises ConfigError for another form."""
    name, at, version = identity.rpartition("@")
    if not at or not name or not version:
        raise ConfigError(f"{identity!r} is no id with a version", hint="write it as id@version")
    return Yield(name=name, version=version, accepted=accepted, rejected=tally.reasons())


def merged(yields: Iterable[Yield]) -> tuple[Yield, ...]:
    """Add up the yields of equal name and version, by name, then version."""
    accepted: dict[tuple[str, str], int] = {}
    tallies: dict[tuple[str, str], Tally] = {}
    for each in yields:
        key = (each.name, each.version)
        accepted[key] = accepted.get(key, 0) + each.accepted
        tallies.setdefault(key, Tally()).merge(each.rejected)
    return tuple(
        Yield(name=name, version=version, accepted=accepted[name, version], rejected=tally.reasons())
        for (name, version), tally in sorted(tallies.items())
    )


def compare(before: Yield, after: Yield) -> Change:
    """Set two versions beside each other.

    Raises ConfigError where they are not of one thing or saw no rows.
    """
    if before.name != after.name:
        raise ConfigError(f"{before.name} and {after.name} are not two versions of one thing")
    one, two = before.rate, after.rate
    if one is None or two is None:
        empty = before if one is None else after
        raise ConfigError(f"{empty.name}@{empty.version} saw no rows", hint="run it first")
    (low_1, high_1), (low_2, high_2) = _wilson(before), _wilson(after)
    difference = two - one
    return Change(
        name=before.name,
        before=before.version,
        after=after.version,
        difference=difference,
        # Rounding may carry a bound past the ends that a difference of shares has.
        low=max(-1.0, difference - math.hypot(two - low_2, high_1 - one)),
        high=min(1.0, difference + math.hypot(high_2 - two, one - low_1)),
        reasons=_reasons(before, after),
    )


def _reasons(before: Yield, after: Yield) -> tuple[ReasonChange, ...]:
    counts = [{each.reason: each.count for each in side.rejected} for side in (before, after)]
    changes = [
        ReasonChange(
            reason=reason,
            before_per_1000=1000 * counts[0].get(reason, 0) / before.seen,
            after_per_1000=1000 * counts[1].get(reason, 0) / after.seen,
        )
        for reason in {*counts[0], *counts[1]}
    ]
    return tuple(
        sorted(changes, key=lambda each: (-abs(each.after_per_1000 - each.before_per_1000), each.reason))
    )


def _wilson(side: Yield) -> tuple[float, float]:
    """Return the bounds of an accepted share, 95 % (Wilson 1927)."""
    n, share = side.seen, side.accepted / side.seen
    centre = share + _Z * _Z / (2 * n)
    spread = _Z * math.sqrt(share * (1 - share) / n + _Z * _Z / (4 * n * n))
    scale = 1 + _Z * _Z / n
    return max(0.0, (centre - spread) / scale), min(1.0, (centre + spread) / scale)
