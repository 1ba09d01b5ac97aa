"""Which rows an epoch draws, and in which order: a pure function of the seed and the epoch.

An epoch draws as many rows as there are. Source i, with n_i rows of weight w_i, has a share of them in
proportion to w_i · n_i, rounded by largest remainders, so that the counts add up and are the same in
every epoch. Within a source rows come from one hash-seeded permutation after another, carried on over
epochs: no row comes again before all others of its source have come. With equal weights an epoch is
every row once.

Shapes: R rows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from realm.core.seeds import rng
from realm.training.rules import Mixture

Order = Literal["shuffled", "given"]


class Sampler:
    """The rows of every step of a run; resuming needs the number of steps and nothing else."""

    def __init__(self, sources: Sequence[str], weights: Sequence[float], *, order: Order, seed: int) -> None:
        """Take each row's source and each row's weight; rows of one source have one weight."""
        self.rows = len(sources)
        self.order_is: Order = order
        self.seed = seed
        self._members: dict[str, list[int]] = {}
        for index, source in enumerate(sources):
            self._members.setdefault(source, []).append(index)
        masses = [len(rows) * weights[rows[0]] for rows in self._members.values()]
        self.quotas: dict[str, int] = dict(zip(self._members, apportion(self.rows, masses), strict=True))
        """Rows that each source gives to an epoch."""
        self._even = all(self.quotas[name] == len(rows) for name, rows in self._members.items())
        self._kept: tuple[int, list[int]] | None = None

    def order(self, epoch: int) -> list[int]:
        """Return the indices of the rows of an epoch, in order."""
        if self._kept is None or self._kept[0] != epoch:
            self._kept = (epoch, self._drawn(epoch))
        return self._kept[1]

    def rows_of_step(self, step: int, batch_rows: int) -> list[int]:
        """Return the indices of the rows that step `step` (from 0) trains on."""
        epoch, place = divmod(step, math.ceil(self.rows / batch_rows))
        return self.order(epoch)[place * batch_rows : (place + 1) * batch_rows]

    def _drawn(self, epoch: int) -> list[int]:
        drawn = list(range(self.rows))
        if not self._even:
            drawn = sorted(
                row
                for name, quota in self.quotas.items()
                for row in self._stretch(name, epoch * quota, quota)
            )
        if self.order_is == "shuffled":
            rng("order", self.seed, epoch).shuffle(drawn)
        return drawn

    def _stretch(self, source: str, begin: int, count: int) -> list[int]:
        """Return a stretch of a source's endless row of permutations."""
        members, result = self._members[source], list[int]()
        while count:
            cycle, place = divmod(begin, len(members))
            permuted = list(members)
            rng("mixture", self.seed, source, cycle).shuffle(permuted)
            taken = permuted[place : place + count]
            result += taken
            begin, count = begin + len(taken), count - len(taken)
        return result


def apportion(total: int, masses: Sequence[float]) -> list[int]:
    """Split `total` in proportion to the masses, by largest remainders; ties go to the earlier one."""
    whole = math.fsum(masses)
    exact = [total * mass / whole for mass in masses]
    counts = [math.floor(share) for share in exact]
    by_remainder = sorted(range(len(masses)), key=lambda i: (counts[i] - exact[i], i))
    for index in by_remainder[: total - sum(counts)]:
        counts[index] += 1
    return counts


def mixed(
    files: Sequence[str],
    weights: Sequence[float],
    file_R: NDArray[np.int64],
    tags: Sequence[str],
    mixture: Mixture,
) -> tuple[list[str], list[float]]:
    """Return each row's source and weight where a mixture weighs rows by a tag, on top of their files."""
    sources = [f"{files[file]}/{mixture.by}={tag}" for file, tag in zip(file_R, tags, strict=True)]
    return sources, [
        weights[file] * mixture.weights.get(tag, 1.0) for file, tag in zip(file_R, tags, strict=True)
    ]
