"""Rows with damaged, forbidden or hidden characters."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from realm.core.config import Config as BaseConfig
from realm.corpus.check import Context, Depth, Problem
from realm.corpus.shaper import Row
from realm.corpus.texts.encoding import damage
from realm.corpus.texts.wording import texts


class Encoding:
    """Drop what cannot be written or was lost; tell of what only looks wrong."""

    depth: Depth = Depth.QUICK
    version: str = "1"

    class Config(BaseConfig):
        """How much damage a row may have."""

        kind: Literal["encoding"] = "encoding"
        replaced_per_1000: Annotated[float, Field(ge=0)] = 1.0
        """U+FFFD a thousand characters; more, and the row goes."""
        controls: Annotated[int, Field(ge=0)] = 0
        """Control characters other than tab and line ends that a row may have."""
        misread: Annotated[int, Field(ge=0)] = 3
        """Signs of text read in the wrong encoding that are not told yet."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self._row = 0

    def begin(self, context: Context) -> None:
        """Count from the first row again."""
        self._row = 0

    def see(self, row: Row) -> Iterator[Problem]:
        """Say what is wrong with the row's characters."""
        at, self._row = self._row, self._row + 1
        text = "\n".join(texts(row.example))
        found = damage(text)
        if not any(found):
            return
        if found.surrogates:
            yield Problem(
                row=at, reason="cannot be written as UTF-8", detail=f"{found.surrogates} surrogates"
            )
        if found.controls > self.config.controls:
            yield Problem(row=at, reason="control characters", detail=f"{found.controls}")
        if found.noncharacters:
            yield Problem(row=at, reason="noncharacters of Unicode", detail=f"{found.noncharacters}")
        if found.replaced * 1000 > self.config.replaced_per_1000 * len(text):
            yield Problem(row=at, reason="characters lost (U+FFFD)", detail=f"{found.replaced}")
        if found.hidden:
            yield Problem(row=at, reason="hidden characters", detail=f"{found.hidden}", drops=False)
        if found.misread > self.config.misread:
            yield Problem(
                row=at, reason="read in the wrong encoding", detail=f"{found.misread} signs", drops=False
            )

    def end(self) -> Iterator[Problem]:
        """Add nothing."""
        return iter(())
