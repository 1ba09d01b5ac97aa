"""How sure a share of right answers is: the Wilson score interval (Wilson 1927)."""

from __future__ import annotations

from collections.abc import Iterable
from math import sqrt

from realm.core.events import Interval

Z_95 = 1.959964
"""Two-sided 95 % quantile of the standard normal distribution."""


def wilson(correct: int, total: int, z: float = Z_95) -> Interval:
    """Return right answers with the Wilson interval of their share; 0 of 0 says nothing: 0 to 1.

    center ± half, where center = (p + z²/2n) / (1 + z²/n) and
    half = z / (1 + z²/n) · √(p(1-p)/n + z²/4n²).
    """
    if not 0 <= correct <= total:
        raise ValueError(f"{correct} right answers of {total} are not possible")
    if total == 0:
        return Interval(correct=0, total=0, low=0.0, high=1.0)
    share, scale = correct / total, 1 + z * z / total
    center = (share + z * z / (2 * total)) / scale
    half = z / scale * sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    # Exactly 0 and 1 at the ends, where rounding would leave 1e-17.
    low = 0.0 if correct == 0 else max(0.0, center - half)
    high = 1.0 if correct == total else min(1.0, center + half)
    return Interval(correct=correct, total=total, low=low, high=high)


def pool(parts: Iterable[Interval], z: float = Z_95) -> Interval:
    """Return the interval of all answers together."""
    found = list(parts)
    return wilson(sum(part.correct for part in found), sum(part.total for part in found), z)
