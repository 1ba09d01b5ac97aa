"""Run checks over rows in one pass, and say which rows stay.

Checks of one depth see the same rows; what they drop at once is not shown to deeper ones. A row counts
as dropped once, for the first reason; what is only told is counted apart.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from realm.core.errors import ConfigError
from realm.core.records import Record
from realm.corpus.assembly.statistics import CheckVersion
from realm.corpus.assembly.yields import Yield, yield_of
from realm.corpus.check import CHECKS, Check, Context, Depth, Problem
from realm.corpus.shaper import Row
from realm.corpus.tally import Reason, Tally
from realm.corpus.texts.wording import place

_ORDER = tuple(Depth)
_DATASET = "dataset"


class Named(NamedTuple):
    """A check and the name it counts under."""

    name: str
    check: Check


class Examination(Record):
    """What the checks found in all rows."""

    rows: int
    kept: int
    dropped: tuple[Reason, ...]
    """`check: reason`, each row once."""
    told: tuple[Reason, ...]
    """What is wrong or noteworthy and drops nothing."""
    dataset: tuple[str, ...]
    """What is told of the dataset as a whole, with its detail."""
    checks: tuple[CheckVersion, ...]
    yields: tuple[Yield, ...]
    """Of each check: the rows it saw, and those that it would drop, also where another did."""


class Examiner:
    """Show rows to checks. Holds a byte a row, and eight more for each deeper depth."""

    def __init__(self, checks: Sequence[Named], context: Context) -> None:
        """Begin the checks. Raises what their `begin` raises."""
        self._checks = {depth: [each for each in checks if each.check.depth is depth] for depth in _ORDER}
        self._places = {depth: array("q") for depth in _ORDER}
        self._gone = bytearray()
        self._dropped, self._told = Tally(), Tally()
        self._by_check = {each.name: Tally() for each in checks}
        self._last = dict.fromkeys(self._by_check, -1)
        self._dataset: list[str] = []
        for each in checks:
            each.check.begin(context)

    def see(self, row: Row) -> bool:
        """Show the next row and return whether it stays so far."""
        at, where = len(self._gone), place(row)
        self._gone.append(0)
        for depth in _ORDER:
            if self._gone[at]:
                return False
            if not self._checks[depth]:
                continue
            self._places[depth].append(at)
            for each in self._checks[depth]:
                for problem in each.check.see(row):
                    self._note(each.name, problem, at, where)
        return not self._gone[at]

    def end(self) -> Examination:
        """Let the checks say what only all rows show, and sum up."""
        for depth in _ORDER:
            for each in self._checks[depth]:
                for problem in each.check.end():
                    at = None if problem.row is None else self._places[depth][problem.row]
                    self._note(each.name, problem, at, _DATASET if at is None else f"row {at}")
        return Examination(
            rows=len(self._gone),
            kept=len(self._gone) - sum(self._gone),
            dropped=self._dropped.reasons(),
            told=self._told.reasons(),
            dataset=tuple(self._dataset),
            checks=versions([each for depth in _ORDER for each in self._checks[depth]]),
            yields=tuple(
                self._yield(each, len(self._places[depth]))
                for depth in _ORDER
                for each in self._checks[depth]
            ),
        )

    def stays(self, at: int) -> bool:
        """Return whether a row stays, by its place; final after `end`."""
        return not self._gone[at]

    def _yield(self, of: Named, seen: int) -> Yield:
        tally = self._by_check[of.name]
        return yield_of(f"{of.name}@{of.check.version}", seen - tally.total(), tally)

    def _note(self, name: str, problem: Problem, at: int | None, where: str) -> None:
        reason = f"{name}: {problem.reason}"
        if at is None:
            self._told.add(reason, where)
            self._dataset.append(f"{reason}: {problem.detail}" if problem.detail else reason)
        elif not problem.drops:
            self._told.add(reason, where)
        else:
            if self._last[name] != at:  # a check may have several things against one row
                self._by_check[name].add(problem.reason, where)
                self._last[name] = at
            if not self._gone[at]:
                self._gone[at] = 1
                self._dropped.add(reason, where)


def checks_of(depth: Depth, configs: Iterable[Any] = ()) -> list[Named]:
    """Build every check down to a depth; `configs` replace the defaults of their kinds, where they run.

    Raises ConfigError for a config of no known kind or of one named twice.
    """
    given: dict[str, Any] = {}
    for each in configs:
        config: Any = CHECKS.config(each)
        if config.kind in given:
            raise ConfigError(f"the check {config.kind} is configured twice")
        given[config.kind] = config
    wanted = _ORDER[: _ORDER.index(depth) + 1]
    found = [Named(name, CHECKS.build(given.get(name, name))) for name in CHECKS.names()]
    return [each for each in found if each.check.depth in wanted]


def versions(checks: Iterable[Named]) -> tuple[CheckVersion, ...]:
    """Return name, version and depth of checks, for manifests and cards."""
    return tuple(
        CheckVersion(name=each.name, version=each.check.version, depth=each.check.depth.value)
        for each in checks
    )
