"""Symbol keys: other signs for the digits and other names for the operations, told above the question.

    Key: ◇ = ⓪, ◆ = ①
    Names: zor = add, mip = bitwise_or, tav = lessthan
    Compute: zor(◆◆, ◆)

All names but one are decoys.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from typing import NamedTuple, TypeVar

T = TypeVar("T")

SIGNS = "◇◆□■△▲○●☆★♡♥♢♦♤♠"
ALIASES = (
    *("zor", "mip", "tav", "lem", "quo", "dax", "fip", "gub", "hez", "jol", "kiv", "nur"),
    *("pym", "rax", "sil", "tuk", "vob", "wex", "yad", "bri", "cle", "dro", "fli", "gra"),
)
DECOYS = (2, 3, 4)
"""How many names are told that the question does not use."""

_PAIRS = tuple(zero + one for zero in SIGNS for one in SIGNS if zero != one)
_KNOWN = frozenset(ALIASES)
_TEXT = re.compile(r"Key: (.) = ⓪, (.) = ①\nNames: ([a-z_0-9 =,]{1,300})\n")


class Key(NamedTuple):
    """What signs and names stand for."""

    signs: str
    names: tuple[tuple[str, str], ...]
    """(alias, operation) as they are told."""

    def text(self) -> str:
        """Return the lines above the question."""
        names = ", ".join([f"{alias} = {operation}" for alias, operation in self.names])
        return f"Key: {self.signs[0]} = ⓪, {self.signs[1]} = ①\nNames: {names}\n"

    def alias(self, operation: str) -> str:
        """Return what an operation is called."""
        return next(alias for alias, known in self.names if known == operation)


def draw(rng: random.Random, operation: str, operations: tuple[str, ...]) -> Key:
    """Draw a key that names the operation and some decoys."""
    count = _pick(rng, DECOYS)
    told = [operation]
    aliases: list[str] = []
    while len(told) <= count:
        if (name := _pick(rng, operations)) not in told:
            told.append(name)
    while len(aliases) <= count:
        if (alias := _pick(rng, ALIASES)) not in aliases:
            aliases.append(alias)
    place = int(rng.random() * len(told))
    told[0], told[place] = told[place], told[0]
    return Key(_pick(rng, _PAIRS), tuple(zip(aliases, told, strict=True)))


def _pick(rng: random.Random, items: Sequence[T]) -> T:
    """Choose one of a few items, several times faster than `choice`."""
    return items[int(rng.random() * len(items))]


def read(text: str, operations: frozenset[str]) -> tuple[Key, int] | None:
    """Read a key at the beginning of a question; also returns where it ends. None where there is none."""
    match = _TEXT.match(text)
    if match is None or match[1] == match[2] or not {match[1], match[2]} <= set(SIGNS):
        return None
    names = [tuple(part.split(" = ")) for part in match[3].split(", ")]
    if not all(len(pair) == 2 and pair[0] in _KNOWN and pair[1] in operations for pair in names):
        return None
    columns = [set(column) for column in zip(*names, strict=True)]
    if len(names) - 1 not in DECOYS or any(len(column) < len(names) for column in columns):
        return None
    return Key(match[1] + match[2], tuple((alias, operation) for alias, operation in names)), match.end()
