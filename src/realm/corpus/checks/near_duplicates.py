"""Rows that say nearly what another row says."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from realm.core.config import Config as BaseConfig
from realm.corpus.check import Context, Depth, Problem
from realm.corpus.duplicates.dedupe import compared
from realm.corpus.shaper import Row

if TYPE_CHECKING:
    from realm.corpus.duplicates.near import NearIndex


class NearDuplicates:
    """Drop the worse of two rows that are nearly the same, by the rule of `realm.corpus.duplicates.near`."""

    depth: Depth = Depth.DEEP
    version: str = "1"

    class Config(BaseConfig):
        """From when on two rows are near."""

        kind: Literal["near_duplicates"] = "near_duplicates"
        threshold: Annotated[float, Field(gt=0, le=1)] = 0.8
        """Jaccard similarity of runs of three words."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self._index: NearIndex | None = None

    def begin(self, context: Context) -> None:
        """Open an empty index. Raises MissingExtraError without numpy."""
        from realm.corpus.duplicates.near import NearConfig, NearIndex

        if self._index is not None:
            self._index.close()
        self._index = NearIndex(NearConfig(threshold=self.config.threshold), context.scratch)

    def see(self, row: Row) -> Iterator[Problem]:
        """Remember the row."""
        if self._index is not None:
            self._index.add(compared(row))
        return iter(())

    def end(self) -> Iterator[Problem]:
        """Name every row that goes, and the one that stays."""
        if self._index is None:
            return
        with self._index as index:
            for found in index.duplicates():
                detail = f"of row {found.of}, {found.jaccard:.2f} alike"
                yield Problem(row=found.row, reason="near duplicate", detail=detail)
            if index.uncompared:
                detail = f"{index.uncompared:,} rows"
                yield Problem(row=None, reason="not compared with all alike", detail=detail, drops=False)
        self._index = None
