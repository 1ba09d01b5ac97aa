"""Two models on the same problems: wins and losses, the difference, and what chance makes of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field

from realm.core.records import Record
from realm.evaluation.statistics import mcnemar, mean_interval, newcombe, sign_flip

Share = Annotated[float, Field(ge=0, le=1)]


class Pair(Record):
    """What two models made of one problem: the champion and a candidate, or before and after."""

    part: str
    """Id of the part of a suite that asked it."""
    primitive: str
    before: Share
    """Score of the first."""
    after: Share
    """Score of the second."""
    before_confidence: Share | None = None
    """Probability that the first gave its answer; None where nobody measured it."""
    after_confidence: Share | None = None


class Difference(Record):
    """How a second model differs from a first on the problems of one group."""

    name: str
    problems: int
    wins: int
    """Problems on which the second scored higher."""
    losses: int
    """Problems on which it scored lower."""
    before: float
    """Mean score of the first; 0 where there are no problems."""
    after: float
    difference: float
    """Mean of after - before."""
    low: float
    high: float
    """95 % interval of the difference: Newcombe's for right and wrong, bootstrap for scores."""
    better: float
    """Chance of so much gain if neither were better, one-sided."""
    worse: float
    """Chance of so much loss if neither were worse, one-sided."""
    test: Literal["McNemar", "sign flip"]

    @property
    def two_sided(self) -> float:
        """Return the chance of so large a difference either way: twice the smaller, 1 at most."""
        return min(1.0, 2 * min(self.better, self.worse))


def compare(name: str, pairs: Sequence[Pair]) -> Difference:
    """Compare two models on a group: exact McNemar for right and wrong, sign flips for scores."""
    outcomes = Counter((pair.before, pair.after) for pair in pairs)
    wins = sum(count for (before, after), count in outcomes.items() if after > before)
    losses = sum(count for (before, after), count in outcomes.items() if after < before)
    binary = all(score in (0, 1) for outcome in outcomes for score in outcome)
    if binary:
        low, high = newcombe(outcomes[1.0, 1.0], losses, wins, outcomes[0.0, 0.0])
        better, worse = mcnemar(wins, losses), mcnemar(losses, wins)
    else:
        gained = [pair.after - pair.before for pair in pairs]
        low, high = mean_interval(gained, purpose=name)
        better = sign_flip(gained, purpose=name)
        worse = sign_flip([-gain for gain in gained], purpose=name)
    mean_before = sum(before * count for (before, _), count in outcomes.items()) / max(1, len(pairs))
    mean_after = sum(after * count for (_, after), count in outcomes.items()) / max(1, len(pairs))
    return Difference(
        name=name,
        problems=len(pairs),
        wins=wins,
        losses=losses,
        before=mean_before,
        after=mean_after,
        difference=mean_after - mean_before,
        low=low,
        high=high,
        better=better,
        worse=worse,
        test="McNemar" if binary else "sign flip",
    )
