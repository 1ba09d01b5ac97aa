"""When the rest of a suite need not be asked, because its verdict is certain already.

Two bounds. The exact one: even if all that remain were wrong it passes, or even if all were right it
fails. The sequential one, where a risk is allowed: scores are taken as draws from one distribution, and
each side keeps a bet that pays 1 in the mean where that side is wrong at the threshold t, so its capital
exceeds 1/risk with a chance of at most `risk`, however often one looks (Ville 1939; for scores of 0 and 1
it is Wald's ratio 1945). It says something of the expected score, not of the very problems left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import log
from typing import Annotated

from pydantic import Field

from realm.core.config import Config
from realm.core.seeds import rng
from realm.skills.skill import Problem

PASSES = "passes"
"""What the verdict of a suite begins with that reaches its threshold."""
STRIDE = 16
"""Problems answered between two looks."""
_MARGIN = 0.1
"""Distance from the threshold of the score that a bet is on: it grows fastest when that is the true one."""
_ROUNDING = 1e-9


class Early(Config):
    """What is asked of a suite before it may end."""

    threshold: Annotated[float, Field(gt=0, le=1)]
    """Mean score that passes."""
    binary: bool
    """Only wholly right answers count, as in the suite's scoring; else what answers are worth."""
    risk: Annotated[float, Field(ge=0, le=0.2)] = 0.0
    """Chance of a wrong verdict that is accepted on each side; 0 uses the exact bound alone."""


def order(suite: str, problems: Sequence[Problem]) -> list[Problem]:
    """Return the problems mixed, so that the first ones stand for all; the same each time."""
    mixed = list(problems)
    rng("early stop", suite).shuffle(mixed)
    return mixed


def verdict(early: Early, scores: Sequence[float], problems: int) -> str:
    """Return the verdict that is certain after these scores, in words; empty while there is none."""
    counted = [float(score == 1.0) for score in scores] if early.binary else scores
    asked, reached = len(counted), sum(counted)
    needed = (early.threshold - _ROUNDING) * problems
    told = f"after {asked} of {problems} problems"
    if asked == problems:
        return ""
    if reached >= needed:
        return f"{PASSES} for certain {told}"
    if reached + problems - asked < needed:
        return f"fails for certain {told}"
    if early.risk:
        if _capital(counted, early.threshold, 1) >= log(1 / early.risk):
            return f"{PASSES} {told}, at a risk of {early.risk:g}"
        if _capital(counted, early.threshold, -1) >= log(1 / early.risk):
            return f"fails {told}, at a risk of {early.risk:g}"
    return ""


def _capital(scores: Sequence[float], threshold: float, side: int) -> float:
    """Return the logarithm of the capital of who bets that the mean lies on this side of the threshold.

    Σ log(1 + λ·(x - t)): a bet that keeps its mean where E[x] = t, and loses beyond it. For scores of 0
    and 1 and λ = (p - t) / (t·(1 - t)) it is the likelihood ratio of p against t.
    """
    if not 0 < threshold < 1:
        return 0.0
    aim = min(max(threshold + side * _MARGIN, threshold / 2), (1 + threshold) / 2)
    stake = (aim - threshold) / (threshold * (1 - threshold))
    return sum(log(1 + stake * (score - threshold)) for score in scores)
