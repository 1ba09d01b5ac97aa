"""Which rows an epoch draws, and in which order: a pure function of the seed and the epoch.

An epoch draws as many rows as there are. Source i, with n_i rows of weight w_i, has a share of them in
proportion to w_i · n_i. Each epoch gives it the whole part of that share, and one row more where its
fraction, added up over the epochs so far, is among the largest: so the counts of an epoch add up, those of
the first one are rounded by largest remainders, and a source whose share is less than a row has its turn in
some epochs. Within a source rows come from one hash-seeded permutation after another, carried on over
epochs: no row comes again before all others of its source have come. With equal weights an epoch is
every row once.

Shapes: R rows.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Sequence
from fractions import Fraction
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from realm.core.errors import ConfigError
from realm.core.seeds import rng
from realm.core.text import printable
from realm.training.rules import Mixture

Order = Literal["shuffled", "given"]
_SHOWN = 8


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
        masses = [len(rows) * Fraction(weights[rows[0]]) for rows in self._members.values()]
        exact = [self.rows * mass / sum(masses) for mass in masses]
        self._least = [math.floor(share) for share in exact]
        self._rests = [share - least for share, least in zip(exact, self._least, strict=True)]
        self._more = self.rows - sum(self._least)
        """Sources that give a row more than their share's whole part, in every epoch."""
        self._even = all(
            share == len(rows) for share, rows in zip(exact, self._members.values(), strict=True)
        )
        self._state = self._first()
        self._kept: tuple[int, list[int]] | None = None

    def quotas(self, epoch: int) -> dict[str, int]:
        """Return how many rows each source gives to an epoch."""
        self._go_to(epoch)
        return dict(zip(self._members, self._state.counts, strict=True))

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
            self._go_to(epoch)
            state = self._state
            drawn = sorted(
                row
                for name, begin, count in zip(self._members, state.begins, state.counts, strict=True)
                for row in self._stretch(name, begin, count)
            )
        if self.order_is == "shuffled":
            rng("order", self.seed, epoch).shuffle(drawn)
        return drawn

    def _go_to(self, epoch: int) -> None:
        """Count up to an epoch; from the first one where it lies behind."""
        if epoch < self._state.epoch:
            self._state = self._first()
        while self._state.epoch < epoch:
            self._state = self._after(self._state)

    def _first(self) -> _Epoch:
        return self._given(0, [0] * len(self._least), [Fraction(0)] * len(self._least))

    def _after(self, state: _Epoch) -> _Epoch:
        begins = [begin + count for begin, count in zip(state.begins, state.counts, strict=True)]
        return self._given(state.epoch + 1, begins, state.owed)

    def _given(self, epoch: int, begins: list[int], owed: list[Fraction]) -> _Epoch:
        owed = [debt + rest for debt, rest in zip(owed, self._rests, strict=True)]
        counts = list(self._least)
        for index in sorted(range(len(owed)), key=lambda i: (-owed[i], i))[: self._more]:
            counts[index] += 1
            owed[index] -= 1
        return _Epoch(epoch, begins, counts, owed)

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


class _Epoch(NamedTuple):
    """What each source gives to an epoch."""

    epoch: int
    begins: list[int]
    """Rows it gave to the epochs before."""
    counts: list[int]
    owed: list[Fraction]
    """Its share of all epochs so far less what it gave to them, rows."""


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


def refuse_unmet(mixture: Mixture, tags_R: Sequence[str], names: Iterable[str]) -> None:
    """Raise ConfigError for a tag that no row has, and for values without rows beside ones without a weight.

    Takes each row's value of the mixture's tag (empty where it has none), and the names of all rows' tags,
    which are read where the tag is missing. Values without rows alone are fine: a dataset need not hold all
    that a recipe has weights for.
    """
    found = sorted({tag for tag in tags_R if tag})
    if not found:
        known = sorted(set(names))
        raise ConfigError(
            f"where.mixture weighs rows by the tag {_shown([mixture.by])}, which no row has",
            hint=_nearest([mixture.by], known) + f"tags of the rows: {_shown(known)}",
        )
    missing = sorted(set(mixture.weights) - set(found))
    unlisted = sorted(set(found) - set(mixture.weights))
    if missing and unlisted:
        raise ConfigError(
            f"where.mixture gives weights to {_shown([mixture.by])} {_shown(missing)}, which no row has, "
            f"and none to {_shown(unlisted)}",
            hint=_nearest(missing, unlisted) + "weigh what the rows have; a weight of 1 changes nothing",
        )


def _nearest(asked: Sequence[str], known: Sequence[str]) -> str:
    near = [each for name in asked for each in difflib.get_close_matches(name, known, n=1)]
    return f"did you mean {_shown(near)}? " if near else ""


def _shown(names: Sequence[str]) -> str:
    most = ", ".join(repr(printable(name, 40)) for name in names[:_SHOWN]) or "none"
    return f"{most} and {len(names) - _SHOWN} more" if len(names) > _SHOWN else most
