"""Pieces of a broken file, one for each line that looks like the head of a function.

One missing bracket can make a parser take all that follows for one broken function. Each piece is then
searched alone. C and C++ need none of this: there functions are found within what is broken.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

_HEADS: dict[str, re.Pattern[str]] = {
    "bash": re.compile(r"[ \t]*(?:function[ \t]+)?[\w.:-]{1,80}[ \t]*\([ \t]*\)|[ \t]*function[ \t]+\w"),
    "gdscript": re.compile(r"[ \t]*(?:static[ \t]+)?func\b"),
    "go": re.compile(r"func\b"),
    "lua": re.compile(r"[ \t]*(?:local[ \t]+)?function\b|[ \t]*[\w.:]{1,80}[ \t]*=[ \t]*function\b"),
    "python": re.compile(r"[ \t]*(?:async[ \t]+)?def\b"),
}
_ABOVE = re.compile(r"[ \t]*(?:#|--|//|@)")
_MOST_ABOVE = 60


class Piece(NamedTuple):
    """Some lines of a file, without the indentation of the head."""

    first_row: int
    text: str


def pieces(text: str, language: str, taken: bytearray) -> Iterator[Piece]:
    """Yield the pieces whose heads are on lines (from 0) that are not `taken` when their turn comes.

    Each goes from the comments above its head to the next head that is not deeper.
    """
    head = _HEADS.get(language)
    if head is None:
        return
    lines = text.split("\n")
    heads = [row for row, line in enumerate(lines) if head.match(line)]
    ends = _ends(heads, lines)
    for row in heads:
        if not taken[row]:
            first = row
            while (
                first
                and row - first < _MOST_ABOVE
                and _ABOVE.match(lines[first - 1])
                and not taken[first - 1]
            ):
                first -= 1
            margin = lines[row][: _indent(lines[row])]
            yield Piece(first, "\n".join(line.removeprefix(margin) for line in lines[first : ends[row]]))


def _ends(heads: list[int], lines: list[str]) -> dict[int, int]:
    """Return for each head the row of the next one that is not deeper."""
    ends: dict[int, int] = {}
    open_: list[int] = []
    for row in heads:
        while open_ and _indent(lines[row]) <= _indent(lines[open_[-1]]):
            ends[open_.pop()] = row
        open_.append(row)
    return ends | dict.fromkeys(open_, len(lines))


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip(" \t"))
