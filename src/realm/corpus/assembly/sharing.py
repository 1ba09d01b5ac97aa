"""Rigs share by opt-in only: which rows a rig may train on, who gave them, who may use the model."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from typing import Annotated

from pydantic import Field

from realm.core.config import Config
from realm.core.records import Example, Name, Record
from realm.corpus.document import Origin
from realm.corpus.shaper import Row
from realm.corpus.texts.wording import content_digest


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


class ContributionCounter:
    """Count the accepted rows of each contributor. Rows that name nobody count for nobody."""

    def __init__(self) -> None:
        self._rows: Counter[str] = Counter()
        self._rigs: defaultdict[str, set[str]] = defaultdict(set)

    def add(self, row: Row) -> None:
        """Count one row."""
        who = row.origin.contributor
        if who is None:
            return
        self._rows[who] += 1
        if row.origin.rig is not None:
            self._rigs[who].add(row.origin.rig)

    def contributions(self) -> tuple[Contribution, ...]:
        """Return what everybody gave, most first."""
        return _sorted(self._rows, self._rigs)


class DistinctContributions:
    """Count the different rows that each contributor gave to several datasets; some 100 bytes a row."""

    def __init__(self) -> None:
        self._seen: defaultdict[str, set[bytes]] = defaultdict(set)
        self._rigs: defaultdict[str, set[str]] = defaultdict(set)

    def add(self, example: Example, origin: Origin) -> None:
        """Count a row, once however many datasets hold it. One that names nobody counts for nobody."""
        who = origin.contributor
        if who is None:
            return
        self._seen[who].add(content_digest(example))
        if origin.rig is not None:
            self._rigs[who].add(origin.rig)

    def contributions(self) -> tuple[Contribution, ...]:
        """Return what everybody gave, most first."""
        return _sorted({who: len(rows) for who, rows in self._seen.items()}, self._rigs)


def shares_with_all(rig: str, config: SharingConfig) -> bool:
    """Return whether a rig lets everybody have its rows."""
    return EVERY_RIG in config.rigs.get(rig, ())


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


def _sorted(rows: Mapping[str, int], rigs: Mapping[str, set[str]]) -> tuple[Contribution, ...]:
    return tuple(
        Contribution(contributor=who, rows=count, rigs=tuple(sorted(rigs.get(who, ()))))
        for who, count in sorted(rows.items(), key=lambda item: (-item[1], item[0]))
    )
