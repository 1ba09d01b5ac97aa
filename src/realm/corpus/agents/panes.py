"""Captures of one terminal put together: wrapped lines joined, what two captures share taken once."""

from __future__ import annotations

import hashlib
import re
from collections import deque
from collections.abc import Iterable, Iterator

from realm.corpus.agents.screen import width

_REMEMBERED = 20_000
_LEAST = 3
"""Lines with words that two captures must share at the seam; fewer may be chance."""
_COUNTER = re.compile(r"[-_.+@]?(?:\d{1,20}[-_.:TZ]?){1,8}$")


def pane_of(key: str) -> str:
    """Return a capture's name without the time or the number at its end: captures of one pane share it."""
    folder, slash, name = key.rpartition("/")
    stem, dot, _ = name.rpartition(".")
    return folder + slash + (_COUNTER.sub("", stem if dot else name) or name)


def unwrapped(lines: Iterable[str], columns: int) -> Iterator[str]:
    """Join lines that fill the pane's width with what follows; 20 of them at most."""
    held: list[str] = []
    for line in lines:
        held.append(line)
        if width(line) != columns or len(held) > 20:
            yield "".join(held)
            held = []
    if held:
        yield "".join(held)


class Seam:
    """Drop from each capture what the captures before it ended with."""

    def __init__(self) -> None:
        self._tail: deque[bytes] = deque(maxlen=_REMEMBERED)

    def fresh(self, lines: list[str]) -> list[str]:
        """Return the lines that no earlier capture had: all of them where there is no seam."""
        marks = [_mark(line) for line in lines]
        shared = self._shared(marks, lines)
        self._tail.extend(marks[shared:])
        return lines[shared:]

    def _shared(self, marks: list[bytes], lines: list[str]) -> int:
        """Return how many of the first lines are already there: as the end, or somewhere within."""
        before = list(self._tail)
        inside = _found_within(before, marks)
        count = len(marks) if inside else _overlap(before, marks)
        worded = sum(1 for line in lines[:count] if line.strip())
        return count if worded >= _LEAST else 0


def _overlap(before: list[bytes], after: list[bytes]) -> int:
    """Return the longest end of `before` that `after` begins with (prefix function, linear time)."""
    joined = [*after[: len(before)], b"", *before[-len(after) :]]
    return _prefix_function(joined)[-1] if before and after else 0


def _found_within(before: list[bytes], after: list[bytes]) -> bool:
    if not after or len(after) > len(before):
        return False
    return len(after) in _prefix_function([*after, b"", *before])[len(after) + 1 :]


def _prefix_function(items: list[bytes]) -> list[int]:
    lengths = [0] * len(items)
    for index in range(1, len(items)):
        length = lengths[index - 1]
        while length and items[index] != items[length]:
            length = lengths[length - 1]
        lengths[index] = length + (items[index] == items[length])
    return lengths


def _mark(line: str) -> bytes:
    return hashlib.blake2b(line.encode(), digest_size=8).digest()
