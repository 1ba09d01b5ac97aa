"""Sources, contributors and generators that suddenly give most of what is learnt."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import date
from typing import Annotated, Literal

from pydantic import Field

from realm.core.config import Config as BaseConfig
from realm.core.text import printable
from realm.corpus.check import Context, Depth, Problem
from realm.corpus.shaper import Row
from realm.corpus.texts.wording import tag

_MAX_KEYS = 20_000
"""Distinct parts or days that are counted; hostile origins cannot fill the memory."""


class Dominance:
    """Tell who gives most of a task, and whose share jumped within a day. No row is dropped.

    - Sudden: on a day with at least `min_rows` rows somebody gives `jump` more of them, as a share, than of
      all earlier days together. Needs `origin.at`; at least `min_rows` earlier rows must have it too.
    - Standing: of a task to which at least three give rows, one gives more than `max_share`.

    Who gives is the contributor, else the source; apart from it, the generator.
    """

    depth: Depth = Depth.DEEP
    version: str = "1"

    class Config(BaseConfig):
        """From when on one of several gives too much."""

        kind: Literal["dominance"] = "dominance"
        max_share: Annotated[float, Field(gt=0, le=1)] = 0.9
        """Of the rows of a task."""
        jump: Annotated[float, Field(gt=0, le=1)] = 0.4
        min_rows: Annotated[int, Field(ge=1)] = 50

    def __init__(self, config: Config) -> None:
        self.config = config
        self._by_task: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self._by_day: defaultdict[date, Counter[str]] = defaultdict(Counter)
        self._uncounted = 0

    def begin(self, context: Context) -> None:
        """Forget earlier rows."""
        self._by_task.clear()
        self._by_day.clear()
        self._uncounted = 0

    def see(self, row: Row) -> Iterator[Problem]:
        """Count who gave the row."""
        task = tag(row, "task")
        for giver in _givers(row):
            if (len(self._by_task) >= _MAX_KEYS and task not in self._by_task) or (
                len(self._by_task[task]) >= _MAX_KEYS and giver not in self._by_task[task]
            ):
                self._uncounted += 1
                continue
            self._by_task[task][giver] += 1
            if row.origin.at is not None:
                self._by_day[row.origin.at.date()][giver] += 1
        return iter(())

    def end(self) -> Iterator[Problem]:
        """Tell who dominates."""
        yield from self._standing()
        yield from self._sudden()
        if self._uncounted:
            detail = f"{self._uncounted:,} rows"
            yield Problem(row=None, reason="too many tasks or givers to count", detail=detail, drops=False)

    def _standing(self) -> Iterator[Problem]:
        for task, counts in sorted(self._by_task.items()):
            for kind in ("giver", "generator"):
                of_kind = {who: n for who, n in counts.items() if who.startswith(kind)}
                total = sum(of_kind.values())
                if len(of_kind) < 3 or total < self.config.min_rows:
                    continue
                who, most = max(of_kind.items(), key=lambda item: (item[1], item[0]))
                if most > self.config.max_share * total:
                    where = f" of task {printable(task, 40)}" if task else ""
                    detail = f"{printable(who, 80)}: {most / total:.0%} of {total:,} rows{where}"
                    yield Problem(row=None, reason="one gives most of a task", detail=detail, drops=False)

    def _sudden(self) -> Iterator[Problem]:
        before: Counter[str] = Counter()
        for day, counts in sorted(self._by_day.items()):
            for kind in ("giver", "generator"):
                today, earlier = _total(counts, kind), _total(before, kind)
                if min(today, earlier) < self.config.min_rows:
                    continue
                for who, count in sorted(counts.items()):
                    share, usual = count / today, before[who] / earlier
                    if who.startswith(kind) and share - usual >= self.config.jump:
                        detail = f"{printable(who, 80)}: {share:.0%} of {day}, {usual:.0%} before"
                        yield Problem(row=None, reason="one suddenly gives most", detail=detail, drops=False)
            before.update(counts)


def _givers(row: Row) -> tuple[str, ...]:
    """Return who gave a row; of rows that people wrote there is no generator to count."""
    giver = f"giver {row.origin.contributor or row.origin.source}"
    return (giver, f"generator {row.origin.generator}") if row.origin.generator else (giver,)


def _total(counts: Counter[str], kind: str) -> int:
    return sum(count for who, count in counts.items() if who.startswith(kind))
