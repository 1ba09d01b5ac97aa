"""Tests and intervals for paired answers, exact where that is feasible, seeded where it is not.

A pair is what two models made of the same problem. Everything here is conditional on the problems that
were asked: it says what chance may have done on them, not how other problems would have gone.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from math import comb, exp, fsum, gcd, lgamma, log, log1p, sqrt
from statistics import NormalDist, fmean

from realm.core.seeds import rng
from realm.evaluation.intervals import wilson

UNIT = 1_000
"""Steps in which scores of 0 to 1 are compared; differences below one step are none."""
DRAWS = 1_000
"""Resamples of an interval."""
FLIPS = 10_000
"""Sign flips where there are too many to go through."""
_EXACT_WORK = 500_000
"""Additions up to which the distribution of a sum is worked out exactly."""
_NORMAL = NormalDist()


def mcnemar(losses: int, wins: int) -> float:
    """Return the chance of at least so many losses if losing and winning were equally likely.

    P(X ≥ losses) for X ~ Binomial(losses + wins, 1/2), exact and one-sided (McNemar 1947); 1 where
    nothing differs. Swap the arguments to ask about wins.
    """
    n = losses + wins
    ways, term = 0, 1  # term is C(n, k)
    for k in range(n, losses - 1, -1):
        ways += term
        term = term * k // (n - k + 1)
    return ways / (1 << n)


def at_most(right: int, total: int, share: float) -> float:
    """Return the chance of at most so many right answers where each is right with a chance of `share`.

    The binomial distribution's lower tail, 0 < share < 1.
    """
    if right >= total:
        return 1.0
    ways, yes, no = lgamma(total + 1), log(share), log1p(-share)
    return min(
        1.0,
        fsum(
            exp(ways - lgamma(k + 1) - lgamma(total - k + 1) + k * yes + (total - k) * no)
            for k in range(right + 1)
        ),
    )


def sign_flip(differences: Sequence[float], *, purpose: str) -> float:
    """Return the chance of so high a sum of differences if each were as likely to be its negative.

    One-sided. Differences of scores, -1 to 1, in steps of 1/UNIT. Exact where the sums can be counted,
    otherwise (1 + hits) / (1 + FLIPS) over random flips that depend on `purpose` alone (Phipson and
    Smyth 2010). On differences of -1, 0 and 1 it is the exact McNemar test.
    """
    units = [found for value in differences if (found := round(value * UNIT))]
    if not units:
        return 1.0
    step = gcd(*units)
    sizes = Counter(abs(unit) // step for unit in units)
    observed = sum(units) // step
    if sizes.keys() == {1}:
        return mcnemar((len(units) + observed) // 2, (len(units) - observed) // 2)
    if sum(size * count for size, count in sizes.items()) * len(units) <= _EXACT_WORK:
        return _exact_tail(sizes, observed, len(units))
    draw, hits = rng("evaluation/sign-flip", purpose), 0
    for _ in range(FLIPS):
        # Ups minus downs of `count` flips of one size, from as many random bits.
        total = sum(s * (2 * draw.getrandbits(count).bit_count() - count) for s, count in sizes.items())
        hits += total >= observed
    return (1 + hits) / (1 + FLIPS)


def _exact_tail(sizes: Counter[int], observed: int, count: int) -> float:
    ways = {0: 1}
    for size, many in sizes.items():
        following: Counter[int] = Counter()
        for ups in range(many + 1):
            shift, times = size * (2 * ups - many), comb(many, ups)
            for total, way in ways.items():
                following[total + shift] += way * times
        ways = following
    return sum(way for total, way in ways.items() if total >= observed) / (1 << count)


def holm(chances: Sequence[float]) -> tuple[float, ...]:
    """Return each chance adjusted for all of them being asked (Holm 1979), in the same order.

    Calling those below a level significant errs anywhere in the family at most with that chance.
    """
    adjusted, highest = [1.0] * len(chances), 0.0
    for place, index in enumerate(sorted(range(len(chances)), key=lambda i: chances[i])):
        highest = max(highest, min(1.0, (len(chances) - place) * chances[index]))
        adjusted[index] = highest
    return tuple(adjusted)


def newcombe(both: int, lost: int, won: int, neither: int) -> tuple[float, float]:
    """Return the 95 % interval of the difference of two paired shares, won minus lost over all.

    Score intervals of the two shares, joined with their correlation (Newcombe 1998, Statistics in
    Medicine 17:2635, method 10). -1 and 1 where there are no pairs.
    """
    n = both + lost + won + neither
    if n == 0:
        return -1.0, 1.0
    before, after = wilson(both + lost, n), wilson(both + won, n)
    p, q = (both + lost) / n, (both + won) / n
    phi = _phi(both, lost, won, neither)
    down = _joined(q - after.low, before.high - p, phi)
    up = _joined(after.high - q, p - before.low, phi)
    return max(-1.0, q - p - down), min(1.0, q - p + up)


def _joined(one: float, other: float, phi: float) -> float:
    return sqrt(max(0.0, one * one - 2 * phi * one * other + other * other))


def _phi(both: int, lost: int, won: int, neither: int) -> float:
    """Correlation of the two answers, with the continuity correction of method 10 where it is positive."""
    margins = (both + lost) * (won + neither) * (both + won) * (lost + neither)
    if margins == 0:
        return 0.0
    product, n = both * neither - lost * won, both + lost + won + neither
    return (max(product - n / 2, 0.0) if product > 0 else float(product)) / sqrt(margins)


def bootstrap(count: int, statistic: Callable[[list[int]], float], *, purpose: str) -> tuple[float, float]:
    """Return the 95 % percentile interval of a difference over `count` pairs, resampled as pairs.

    `statistic` takes the places of a resample and is -1 to 1. The draws depend on `purpose` and `count`
    alone. -1 and 1 for fewer than two pairs: a single one resampled is always itself, and says nothing.
    """
    if count < 2:
        return -1.0, 1.0
    draw = rng("evaluation/bootstrap", purpose, count)
    found = sorted(statistic(_places(draw, count)) for _ in range(DRAWS))
    return found[round(0.025 * (DRAWS - 1))], found[round(0.975 * (DRAWS - 1))]


def mean_interval(values: Sequence[float], *, purpose: str) -> tuple[float, float]:
    """Return the 95 % bootstrap interval of a mean of paired differences; see `bootstrap`."""
    return bootstrap(len(values), lambda places: fmean([values[i] for i in places]), purpose=purpose)


def _places(draw: random.Random, count: int) -> list[int]:
    return [int(draw.random() * count) for _ in range(count)]


def problems_needed(gain: float, discordance: float, *, alpha: float, power: float) -> int:
    """Return how many pairs show a true gain with this power in a one-sided test.

    Normal approximation for paired shares (Connor 1987): (z_α·√ψ + z_β·√(ψ - δ²))² / δ², with the gain
    δ > 0 and ψ the share of problems that exactly one of the two gets right, at least δ.
    """
    psi = max(discordance, gain)
    a, b = _NORMAL.inv_cdf(1 - alpha), _NORMAL.inv_cdf(power)
    root = a * sqrt(psi) + b * sqrt(psi - gain * gain)
    return int(-(-(root * root) // (gain * gain)))
