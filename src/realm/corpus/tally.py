"""Counts of what was taken, changed and left out, each with its reason and a few examples."""

from __future__ import annotations

from collections import Counter

from realm.core.records import Record
from realm.core.text import printable

_EXAMPLES = 5


class Reason(Record):
    """Why rows were changed or left out, how often, and where first."""

    reason: str
    count: int
    examples: tuple[str, ...]
    """Places such as `chat.jsonl:7`, never content."""


class Tally:
    """Count by reason. A reason is a short, fixed phrase; places are told apart from it."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._examples: dict[str, list[str]] = {}

    def add(self, reason: str, where: str, count: int = 1) -> None:
        """Count `reason` once more (or `count` times), seen at `where`."""
        self._counts[reason] += count
        seen = self._examples.setdefault(reason, [])
        if len(seen) < _EXAMPLES:
            seen.append(printable(where))

    def merge(self, reasons: tuple[Reason, ...]) -> None:
        """Add what another tally counted."""
        for reason in reasons:
            self._counts[reason.reason] += reason.count
            seen = self._examples.setdefault(reason.reason, [])
            seen.extend(reason.examples[: _EXAMPLES - len(seen)])

    def take(self) -> tuple[Reason, ...]:
        """Return all counts and begin anew."""
        reasons = self.reasons()
        self._counts.clear()
        self._examples.clear()
        return reasons

    def total(self) -> int:
        """Return how often anything was counted."""
        return self._counts.total()

    def reasons(self) -> tuple[Reason, ...]:
        """Return all counts, most frequent first."""
        return tuple(
            Reason(reason=reason, count=count, examples=tuple(self._examples[reason]))
            for reason, count in sorted(self._counts.items(), key=lambda item: (-item[1], item[0]))
        )
