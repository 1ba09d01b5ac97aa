"""Answers whose code does not parse."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal

from realm.core.config import Config as BaseConfig
from realm.core.text import printable
from realm.corpus.check import Context, Depth, Problem
from realm.corpus.shaper import Row
from realm.corpus.texts.fences import blocks


class Syntax:
    """Parse the fenced blocks of trained turns, and texts with a `language`, by the given parser.

    The parser takes a language and code and returns what is wrong, or None, also for a language that it
    does not know. Without one no row is judged, and that is told once.
    """

    depth: Depth = Depth.STANDARD
    version: str = "1"

    class Config(BaseConfig):
        """Nothing to set: a row whose code does not parse goes."""

        kind: Literal["syntax"] = "syntax"

    def __init__(self, config: Config) -> None:
        self.config = config
        self._row = 0
        self._parse: Callable[[str, str], str | None] | None = None

    def begin(self, context: Context) -> None:
        """Take the parser."""
        self._row = 0
        self._parse = context.syntax

    def see(self, row: Row) -> Iterator[Problem]:
        """Say which code does not parse."""
        at, self._row = self._row, self._row + 1
        if self._parse is None:
            return
        for language, code in _codes(row):
            wrong = self._parse(language, code)
            if wrong is not None:
                detail = f"{printable(language, 20)}: {printable(wrong, 80)}"
                yield Problem(row=at, reason="code does not parse", detail=detail)
                return

    def end(self) -> Iterator[Problem]:
        """Say that nothing was parsed, where there was no parser."""
        if self._parse is None and self._row:
            yield Problem(row=None, reason="code not parsed: no parser given", drops=False)


def _codes(row: Row) -> Iterator[tuple[str, str]]:
    example = row.example
    if example.text is not None:
        language = example.tags.get("language")
        if isinstance(language, str):
            yield language, example.text
            return
        spoken = [example.text]
    else:
        # The worse ending of a preference may well be code that does not parse.
        spoken = [turn.content for turn in example.messages if turn.role == "assistant" and turn.weight]
    for text in spoken:
        for block in blocks(text):
            if block.language:
                yield block.language, block.code
