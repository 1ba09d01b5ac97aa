"""What training brought, where it was drilled and where it was not: a base against what became of it.

Differences are over the same problems, with 95 % intervals: Newcombe's for paired shares where answers are
right or wrong, a bootstrap over problems for scores. Labels are corrected for all rows together (Holm):
the chance that any label of the report is luck is at most alpha. The intervals are each row's own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from realm.core.records import Record
from realm.evaluation.comparison import Difference, Pair, compare
from realm.evaluation.statistics import holm

GroupKind = Literal["skill", "primitive", "benchmark"]
Label = Literal["gained", "lost", "no difference shown"]


class Group(Record):
    """Problems that one row of the report is about."""

    kind: GroupKind
    name: str
    trained: bool
    """Whether the training drilled it; what was gained elsewhere is transfer."""
    pairs: tuple[Pair, ...]
    """The base before, the trained model after."""


class TransferRow(Record):
    """How the trained model differs from its base on one group."""

    kind: GroupKind
    trained: bool
    difference: Difference
    chance: float
    """Two-sided, corrected for all rows."""
    label: Label


class TransferReport(Record):
    """The differences, trained groups first, as given otherwise."""

    rows: tuple[TransferRow, ...]
    alpha: float

    def transferred(self) -> tuple[TransferRow, ...]:
        """Return the rows that gained without having been trained."""
        return tuple(row for row in self.rows if not row.trained and row.label == "gained")

    def forgotten(self) -> tuple[TransferRow, ...]:
        """Return the rows that lost, trained or not."""
        return tuple(row for row in self.rows if row.label == "lost")


def transfer(groups: Sequence[Group], alpha: float = 0.05) -> TransferReport:
    """Compare a base with what was trained from it. Raises ValueError for a group without problems."""
    if empty := [group.name for group in groups if not group.pairs]:
        raise ValueError(f"no problems to compare in {', '.join(empty)}")
    ordered = sorted(groups, key=lambda group: not group.trained)
    differences = [compare(group.name, group.pairs) for group in ordered]
    chances = holm([difference.two_sided for difference in differences])
    rows = tuple(
        TransferRow(
            kind=group.kind,
            trained=group.trained,
            difference=difference,
            chance=chance,
            label=_label(difference, chance, alpha),
        )
        for group, difference, chance in zip(ordered, differences, chances, strict=True)
    )
    return TransferReport(rows=rows, alpha=alpha)


def _label(difference: Difference, chance: float, alpha: float) -> Label:
    if chance >= alpha:
        return "no difference shown"
    return "gained" if difference.better < difference.worse else "lost"
