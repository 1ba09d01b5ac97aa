"""What all generators of drills do alike: share rows among primitives, and give texts to a tokenizer."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from math import inf
from typing import Protocol

from realm.core.errors import UsageError
from realm.skills.skill import Problem


class Drilled(Protocol):
    """Whatever generates drills."""

    def drills(self, level: int, count: int, *, weights: Mapping[str, float], seed: int) -> Iterator[Problem]:
        """Generate problems to train on, of one level."""


def running_shares(
    skill: str, known: Collection[str], names: Sequence[str], weights: Mapping[str, float]
) -> list[float]:
    """Return running sums of the shares of some primitives; no weights at all mean equal shares.

    Raises UsageError for a weight of a primitive that is not known, and for weights that mean nothing.
    """
    if unknown := sorted(set(weights) - set(known)):
        raise UsageError(f"{skill} has no primitive {unknown[0]!r}", hint=f"there are: {', '.join(known)}")
    shares = [weights.get(name, 0.0) if weights else 1.0 for name in names]
    if names and (not all(0 <= share < inf for share in shares) or sum(shares) == 0):
        raise UsageError("weights are numbers from 0 up, not all 0 for what the level can drill")
    return list(accumulate(shares))


def drill_texts(source: Drilled, levels: Iterable[int], rows: int) -> list[str]:
    """Return all turns of the first drills of each level, to train a tokenizer on."""
    return [
        message.content
        for level in levels
        for row in source.drills(level, rows, weights={}, seed=0)
        for message in row.solved()
    ]
