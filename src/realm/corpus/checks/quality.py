"""Rows whose form shows that they are not worth training on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from realm.core.config import Config as BaseConfig
from realm.corpus.check import Context, Depth, Problem
from realm.corpus.examining.quality import WEIGHTS, assess
from realm.corpus.shaper import Row


class Quality:
    """Score every row as `realm.corpus.examining.quality` does and drop the worst."""

    depth: Depth = Depth.DEEP
    version: str = "1"

    class Config(BaseConfig):
        """How good a row must be."""

        kind: Literal["quality"] = "quality"
        min_score: Annotated[float, Field(ge=0, le=1)] = 0.7
        """Score of 0–1; a stub has 0, a refusal 0.8."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self._row = 0

    def begin(self, context: Context) -> None:
        """Count from the first row again."""
        self._row = 0

    def see(self, row: Row) -> Iterator[Problem]:
        """Say which part makes the row bad."""
        at, self._row = self._row, self._row + 1
        found = assess(row.example)
        if found.score <= self.config.min_score:
            worst = max(WEIGHTS, key=lambda part: WEIGHTS[part] * (1 - getattr(found, part)))
            detail = f"{found.score:.2f}, {worst} {getattr(found, worst):.2f}"
            yield Problem(row=at, reason="low quality", detail=detail)

    def end(self) -> Iterator[Problem]:
        """Add nothing."""
        return iter(())
