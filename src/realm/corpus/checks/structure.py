"""Rows that are no row: turns out of order, nothing to train, nothing to tell them apart by."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from realm.core.config import Config as BaseConfig
from realm.core.errors import DataError
from realm.core.records import Example
from realm.corpus import specs
from realm.corpus.check import Context, Depth, Problem
from realm.corpus.shaper import Row
from realm.corpus.texts.wording import ending


class Structure:
    """Hold every row to the rules of its spec, and to what only rows with an origin have."""

    depth: Depth = Depth.QUICK
    version: str = "1"

    class Config(BaseConfig):
        """Nothing to set: the rules are those of the specs."""

        kind: Literal["structure"] = "structure"

    def __init__(self, config: Config) -> None:
        self.config = config
        self._row = 0

    def begin(self, context: Context) -> None:
        """Count from the first row again."""
        self._row = 0

    def see(self, row: Row) -> Iterator[Problem]:
        """Say what the row breaks."""
        at, self._row = self._row, self._row + 1
        try:
            specs.verify(specs.spec_of(row.example), _finished(row.example))
        except DataError as error:
            yield Problem(row=at, reason="breaks the rules of its spec", detail=error.reason)
            return
        if row.example.rejected and not ending(row.example):
            yield Problem(row=at, reason="both endings are the same")
        if not row.example.weight:
            yield Problem(row=at, reason="weighs nothing")
        if not row.group:
            yield Problem(row=at, reason="no group to split by")
        if not row.document:
            yield Problem(row=at, reason="no document it was made of")

    def end(self) -> Iterator[Problem]:
        """Add nothing."""
        return iter(())


def _finished(example: Example) -> Example:
    """Return a prompt to answer under a reward with its answer behind it, as the specs know chats."""
    if example.expected is None or not example.messages or example.messages[-1].role not in ("user", "tool"):
        return example
    answer = {"role": "assistant", "content": example.expected}
    return Example.model_validate({"messages": [*(turn.model_dump() for turn in example.messages), answer]})
