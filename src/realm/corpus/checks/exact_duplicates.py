"""Rows that teach exactly what an earlier row teaches."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from realm.core.config import Config as BaseConfig
from realm.corpus.check import Context, Depth, Problem
from realm.corpus.duplicates.exact import SeenDigests
from realm.corpus.shaper import Row
from realm.corpus.texts.wording import content_digest


class ExactDuplicates:
    """Drop every row but the first of those that teach the same, whatever their tags and origin."""

    depth: Depth = Depth.STANDARD
    version: str = "1"

    class Config(BaseConfig):
        """Nothing to set: the first row stays."""

        kind: Literal["exact_duplicates"] = "exact_duplicates"

    def __init__(self, config: Config) -> None:
        self.config = config
        self._row = 0
        self._seen = SeenDigests()

    def begin(self, context: Context) -> None:
        """Forget earlier rows."""
        self._row = 0
        self._seen.close()
        self._seen = SeenDigests(context.scratch)

    def see(self, row: Row) -> Iterator[Problem]:
        """Say whether the row was there before."""
        at, self._row = self._row, self._row + 1
        if not self._seen.first(content_digest(row.example)):
            yield Problem(row=at, reason="exact duplicate")

    def end(self) -> Iterator[Problem]:
        """Remove temporary files."""
        self._seen.close()
        return iter(())
