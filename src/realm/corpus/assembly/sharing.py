"""Rigs share by opt-in only: which rows a rig may train on, who gave them, who may use the model."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import Annotated

from pydantic import Field

from realm.core.config import Config
from realm.core.records import Name, Record
from realm.corpus.shaper import Row

NOT_SHARED = "the rig does not share"


class SharingConfig(Config):
    """Which rigs share, and what a share of the rows entitles to."""

    rigs: dict[Name, tuple[Name, ...]] = Field(default_factory=dict)
    """For each rig that opted in, the rigs it shares with; `all` among them means every rig."""
    min_rows: Annotated[int, Field(ge=1)] = 1
    """Accepted rows from which on a contributor may use a model trained on them."""


EVERY_RIG = "all"


class Contribution(Record):
    """What one contributor gave to a dataset."""

    contributor: str
    rows: int
    """Accepted rows: those that are in the dataset."""
    rigs: tuple[str, ...]


class Access(Record):
    """Whether somebody may use a model, and why."""

    contributor: str
    allowed: bool
    reason: str


def may_train(row: Row, rig: str | None, config: SharingConfig) -> bool:
    """Return whether a dataset of `rig` (None: of the lab as a whole) may hold a row.

    Rows without a rig are the lab's own. A rig's rows go to itself, and elsewhere only where it opted in;
    into a dataset of the whole lab only where it shares with every rig.
    """
    giver = row.origin.rig
    if giver is None or giver == rig:
        return True
    shared = config.rigs.get(giver, ())
    return EVERY_RIG in shared or (rig is not None and rig in shared)


def contributions(rows: Iterable[Row]) -> tuple[Contribution, ...]:
    """Count the accepted rows of each contributor, most first. Rows that name nobody count for nobody."""
    counts: Counter[str] = Counter()
    rigs: defaultdict[str, set[str]] = defaultdict(set)
    for row in rows:
        if row.origin.contributor is None:
            continue
        counts[row.origin.contributor] += 1
        if row.origin.rig is not None:
            rigs[row.origin.contributor].add(row.origin.rig)
    return tuple(
        Contribution(contributor=who, rows=count, rigs=tuple(sorted(rigs[who])))
        for who, count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    )


def may_use(contributor: str, datasets: Iterable[Iterable[Contribution]], config: SharingConfig) -> Access:
    """Say whether a contributor may use a model that was trained on these datasets.

    `datasets` holds the contributions to each of them; rows of all of them add up.
    """
    rows = sum(
        each.rows for contributed in datasets for each in contributed if each.contributor == contributor
    )
    allowed = rows >= config.min_rows
    verb = "are enough" if allowed else "are too few"
    return Access(
        contributor=contributor,
        allowed=allowed,
        reason=f"{rows:,} accepted rows {verb}: {config.min_rows:,} are needed",
    )
