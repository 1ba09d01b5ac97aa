"""Train and evaluation sides of a dataset, by group and never by row.

A group (session, file, work item) goes to one side by its hash alone, so that it stays there when the
dataset grows: what was trained on never becomes evaluation. A row that joins documents of both sides is on
neither. The share of rows is therefore met on average; `SplitReport` says what came of it. With groups of
sizes n_g the share of rows deviates from the one asked for by about √(s (1-s) Σ n_g²) / Σ n_g.
"""

from __future__ import annotations

import math
from array import array
from typing import Annotated, Literal

from pydantic import Field

from realm.core.config import Config
from realm.core.records import Record
from realm.core.seeds import fraction
from realm.corpus.shaper import Row
from realm.corpus.texts.wording import digest_int

Side = Literal["train", "eval"]

_SIGMAS = 4.0


class SplitConfig(Config):
    """How much is kept for evaluation."""

    eval_share: Annotated[float, Field(ge=0, lt=1)] = 0.05
    """Of the groups, and on average of the rows."""
    seed: int = 0
    """Another seed gives another split; keep it for as long as datasets are compared."""


class SplitReport(Record):
    """What a split came to."""

    train_rows: int
    eval_rows: int
    train_groups: int
    eval_groups: int
    eval_share: float
    """Of the rows."""
    expected: tuple[float, float]
    """Bounds on the share of rows, four standard deviations wide, as the groups' sizes give them."""
    largest_group: int
    """Rows of the largest group; one that is most of the dataset makes any split useless."""

    @property
    def within(self) -> bool:
        """Whether the share is within its bounds; without rows it is."""
        low, high = self.expected
        return not self.train_rows + self.eval_rows or low <= self.eval_share <= high


def side(group: str, config: SplitConfig) -> Side:
    """Return the side of a group."""
    return "eval" if fraction("corpus/split", config.seed, group) < config.eval_share else "train"


def is_split(row: Row, config: SplitConfig) -> bool:
    """Return whether a row joins groups of both sides, so that it can be on neither."""
    return any(side(group, config) != side(row.group, config) for group in row.also)


class SplitCounter:
    """Puts groups on their sides and counts rows; holds eight bytes a row."""

    def __init__(self, config: SplitConfig) -> None:
        self._config = config
        self._rows = array("Q")
        """Number of each row's group; the last bit is its side."""
        self._last: tuple[str, Side, int] | None = None

    def add(self, group: str) -> Side:
        """Count a row of a group and return its side."""
        if self._last is None or self._last[0] != group:
            where = side(group, self._config)
            self._last = (group, where, digest_int(group) & ~1 | (where == "eval"))
        self._rows.append(self._last[2])
        return self._last[1]

    def report(self) -> SplitReport:
        """Return what the split came to. Raises MissingExtraError without numpy."""
        from realm.corpus.texts.shingles import np

        groups, sizes = np.unique(np.frombuffer(self._rows, dtype=np.uint64), return_counts=True)
        in_eval = (groups & np.uint64(1)).astype(bool)
        total, share = len(self._rows), self._config.eval_share
        eval_rows = int(sizes[in_eval].sum())
        squares = float((sizes.astype(np.float64) ** 2).sum())
        spread = _SIGMAS * math.sqrt(share * (1 - share) * squares) / total if total else 0.0
        return SplitReport(
            train_rows=total - eval_rows,
            eval_rows=eval_rows,
            train_groups=int((~in_eval).sum()),
            eval_groups=int(in_eval.sum()),
            eval_share=eval_rows / total if total else 0.0,
            expected=(max(0.0, share - spread), min(1.0, share + spread)),
            largest_group=int(sizes.max(initial=0)),
        )
