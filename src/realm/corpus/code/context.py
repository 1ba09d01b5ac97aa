"""What a file has above a function: imports, types, fields; no other functions, licences or folds."""

from __future__ import annotations

import re
from collections.abc import Iterable

from realm.corpus.code.comments import is_region
from realm.corpus.code.units import Unit

_CHARS = 2_000
_REACH = 1_000
_EMPTY_CONDITION = re.compile(r"^[ \t]*#[ \t]*if[^\n]*\n\s*#[ \t]*endif[^\n]*(?:\n|\Z)", re.MULTILINE)


class Above:
    """The lines of a file that belong to no unit; ask for units in the order of the file."""

    def __init__(self, text: str, asides: Iterable[range]) -> None:
        """`asides` are lines, from 1, that are never shown."""
        self._lines = text.split("\n")
        self._hidden = bytearray(len(self._lines) + 2)
        for aside in asides:
            self._hidden[aside.start : aside.stop] = b"\1" * len(aside)
        self._free: list[int] = []
        self._next = 1

    def of(self, unit: Unit, most_lines: int) -> str:
        """Return the last free lines above a unit, and take the unit's own from what comes later."""
        self._free += (number for number in range(self._next, unit.doc_line) if not self._hidden[number])
        self._next = max(self._next, unit.last_line + 1)
        if not most_lines or not unit.is_function:
            return ""
        kept: list[str] = []
        size = 0
        for number in reversed(self._free):
            line = self._lines[number - 1].rstrip()
            if number < unit.doc_line - _REACH or len(kept) == most_lines:
                break
            if _is_fold(line) or (not line and (not kept or not kept[-1])):
                continue
            size += len(line) + 1
            if size > _CHARS:
                break
            kept.append(line)
        while kept and _is_torn(kept[-1]):
            kept.pop()
        shown = "\n".join(reversed(kept))
        # Conditions that stood around other units alone.
        return _EMPTY_CONDITION.sub("", shown).strip("\n")


def _is_torn(line: str) -> bool:
    """Tell whether a first line stands within something that begins above it."""
    return not line or line[0] in " \t})]"


def _is_fold(line: str) -> bool:
    return "reg" in line[:16] and is_region(line.lstrip("-/# \t"))
