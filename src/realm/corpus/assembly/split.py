"""Train and evaluation sides of a dataset, by group and never by row.

A group (session, file, work item) goes to one side by its hash alone, so that it stays there when the
dataset grows: what was trained on never becomes evaluation. The share of rows is therefore met on
average; `SplitReport` says what came of it. With groups of sizes n_g the share of rows deviates from
the one asked for by about √(s (1-s) Σ n_g²) / Σ n_g.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Annotated, Literal

from pydantic import Field

from realm.core.config import Config
from realm.core.records import Record
from realm.core.seeds import fraction
from realm.corpus.shaper import Row

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


def count_groups(rows: Iterable[Row]) -> Counter[str]:
    """Count rows by group."""
    return Counter(row.group for row in rows)


def split_report(groups: Mapping[str, int], config: SplitConfig) -> SplitReport:
    """Say how the rows of these groups fall."""
    sides: Counter[Side] = Counter()
    rows: Counter[Side] = Counter()
    for group, count in groups.items():
        where = side(group, config)
        sides[where] += 1
        rows[where] += count
    total = rows.total()
    share = config.eval_share
    squares = sum(count * count for count in groups.values())
    spread = _SIGMAS * math.sqrt(share * (1 - share) * squares) / total if total else 0.0
    return SplitReport(
        train_rows=rows["train"],
        eval_rows=rows["eval"],
        train_groups=sides["train"],
        eval_groups=sides["eval"],
        eval_share=rows["eval"] / total if total else 0.0,
        expected=(max(0.0, share - spread), min(1.0, share + spread)),
        largest_group=max(groups.values(), default=0),
    )
