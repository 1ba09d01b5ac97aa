"""Rows that contain evaluation problems."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

from realm.core.config import Config as BaseConfig
from realm.corpus.check import Context, Depth, Problem
from realm.corpus.shaper import Row

if TYPE_CHECKING:
    from realm.corpus.examining.leakage import LeakFinder


class Leakage:
    """Drop rows that hold an evaluation problem, as a whole or as a run of its words.

    The rule is that of `realm.corpus.examining.leakage`. Without hashes no row is judged, which is told once.
    """

    depth: Depth = Depth.STANDARD
    version: str = "1"

    class Config(BaseConfig):
        """Nothing to set: 13 words in a row, or the whole problem."""

        kind: Literal["leakage"] = "leakage"

    def __init__(self, config: Config) -> None:
        self.config = config
        self._row = 0
        self._finder: LeakFinder | None = None

    def begin(self, context: Context) -> None:
        """Take the hashes. Raises ConfigError for foreign ones, MissingExtraError without numpy."""
        from realm.corpus.examining.leakage import LeakFinder

        self._row = 0
        self._finder = LeakFinder(context.eval_hashes) if context.eval_hashes else None

    def see(self, row: Row) -> Iterator[Problem]:
        """Say how the row leaks."""
        at, self._row = self._row, self._row + 1
        leak = self._finder.find(row.example) if self._finder else None
        if leak is None:
            return
        if leak.whole:
            yield Problem(row=at, reason="an evaluation problem")
        else:
            yield Problem(
                row=at, reason="shares words with an evaluation problem", detail=f"{leak.words} in a row"
            )

    def end(self) -> Iterator[Problem]:
        """Say that nothing was compared, where there was nothing to compare with."""
        if self._finder is None and self._row:
            yield Problem(row=None, reason="leakage not checked: no evaluation set given", drops=False)
