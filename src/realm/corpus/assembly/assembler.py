"""What a build settles about the rows that stay, counted in the one pass in which they are written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

from realm.core.records import Record
from realm.corpus.assembly.balance import Balance, BalanceConfig, balance, value_of
from realm.corpus.assembly.partition import PartitionConfig, Partitions, partition, partition_name
from realm.corpus.assembly.sharing import Contribution, ContributionCounter
from realm.corpus.assembly.split import Side, SplitConfig, SplitCounter, SplitReport
from realm.corpus.assembly.statistics import CheckVersion, DatasetStatistics, StatisticsCounter
from realm.corpus.shaper import Row
from realm.corpus.tally import Reason


class Assembly(Record):
    """How the rows of a build part, who gave them, and what they are."""

    statistics: DatasetStatistics
    partitions: Partitions
    balance: Balance | None
    """None where no targets are set."""
    split: SplitReport
    contributions: tuple[Contribution, ...]


class Assembler:
    """Take the rows that stay, one by one; holds some twenty bytes a row."""

    def __init__(
        self,
        partition: PartitionConfig,
        balance: BalanceConfig | None,
        split: SplitConfig,
        count_tokens: Callable[[str], int] | None,
    ) -> None:
        self._partition, self._balance = partition, balance
        self._statistics = StatisticsCounter(count_tokens)
        self._split = SplitCounter(split)
        self._contributions = ContributionCounter()
        self._parts: Counter[str] = Counter()
        self._values: Counter[str] = Counter()

    def add(self, row: Row) -> Side:
        """Count a row and return its side."""
        self._statistics.add(row)
        self._contributions.add(row)
        self._parts[partition_name(row, self._partition.by)] += 1
        if self._balance is not None:
            self._values[value_of(row, self._balance.by)] += 1
        return self._split.add(row.group)

    def assembly(self, dropped: tuple[Reason, ...], checks: Iterable[CheckVersion]) -> Assembly:
        """Sum up, with what was left out and which checks looked. Raises MissingExtraError without numpy."""
        return Assembly(
            statistics=self._statistics.statistics(dropped, checks),
            partitions=partition(self._parts, self._partition),
            balance=balance(self._values, self._balance) if self._balance is not None else None,
            split=self._split.report(),
            contributions=self._contributions.contributions(),
        )
