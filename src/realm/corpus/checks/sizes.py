"""Rows, lines and chats beyond what anybody writes by hand."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from realm.core.config import Config as BaseConfig
from realm.corpus.check import Context, Depth, Problem
from realm.corpus.shaper import Row
from realm.corpus.texts.wording import texts

Cap = Annotated[int, Field(ge=1)]


class Sizes:
    """Cap characters, lines and turns."""

    depth: Depth = Depth.QUICK
    version: str = "1"

    class Config(BaseConfig):
        """The caps."""

        kind: Literal["sizes"] = "sizes"
        row_chars: Cap = 2_000_000
        """Characters of all turns together."""
        line_chars: Cap = 20_000
        """Characters of one line; longer ones are packed code or encoded bytes."""
        turns: Cap = 2_000

    def __init__(self, config: Config) -> None:
        self.config = config
        self._row = 0

    def begin(self, context: Context) -> None:
        """Count from the first row again."""
        self._row = 0

    def see(self, row: Row) -> Iterator[Problem]:
        """Say which cap the row exceeds."""
        at, self._row = self._row, self._row + 1
        caps, parts = self.config, texts(row.example)
        turns = max(len(row.example.messages), len(row.example.rejected))
        if turns > caps.turns:
            yield Problem(row=at, reason="too many turns", detail=f"{turns:,} of {caps.turns:,}")
        chars = sum(map(len, parts))
        if chars > caps.row_chars:
            yield Problem(row=at, reason="row too long", detail=f"{chars:,} characters of {caps.row_chars:,}")
        longest = max(
            (len(line) for part in parts if len(part) > caps.line_chars for line in part.splitlines()),
            default=0,
        )
        if longest > caps.line_chars:
            yield Problem(row=at, reason="line too long", detail=f"{longest:,} of {caps.line_chars:,}")

    def end(self) -> Iterator[Problem]:
        """Add nothing."""
        return iter(())
