"""How a puzzle looks, and how it is read back: a signal that degrades with the level.

| from level | the signal |
|---|---|
| 1 | numbered clues, then the bank |
| 6 | the bank may come first |
| 16 | labels may be letters or roman numbers; the bank may be in groups, or there twice |
| 31 | blanks may be `(?)`, all clues may be in one line, clues may be cut short |
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from typing import NamedTuple

from realm.skills.words.labels import LETTERS, NUMBERS, ROMAN

BANK_FIRST, RELABELLED, BLURRED = 6, 16, 31
"""Levels at which the signal gets worse."""
MAX_QUESTION = 8192
"""Characters that a question may have to be read back."""

_GROUP = 5
_TITLES = ("Bank", "Word", "Words")
_CLUES = "Clues: "
_DASH = " — "
_ITEM = re.compile(
    r"(?:([0-9]{1,2}|[A-Z]{1,4})\. )?((?:___|\(\?\))(?: (?:___|\(\?\)))*)"
    r"(?: \(([0-9]{1,2}) letters(?:, first ([A-Z]))?\))? — ([ -~]{1,140})"
)


class Layout(NamedTuple):
    """Choices that change the looks of a puzzle, never what it asks."""

    bank_first: bool
    labels: tuple[str, ...]
    grouped: bool
    repeated: bool
    blank: str
    one_line: bool
    short: bool


class Item(NamedTuple):
    """One clue with its blanks."""

    blanks: int
    clue: str
    label: str = ""
    letters: int = 0
    """Letters of the word; 0 does not say."""
    first: str = ""
    """First letter of the word, in upper case; empty does not say."""


class Page(NamedTuple):
    """What a question says."""

    header: str
    items: tuple[Item, ...]
    bank: tuple[str, ...]
    closing: str
    title: str = "Bank"
    """What the bank is called."""


def choose(level: int, rng: random.Random) -> Layout:
    """Draw a layout of a level."""
    bits = rng.getrandbits(6)
    relabelled, blurred = level >= RELABELLED, level >= BLURRED
    bank = rng.randrange(4) if relabelled else 0
    return Layout(
        bank_first=level >= BANK_FIRST and bool(bits & 1),
        labels=rng.choice((NUMBERS, LETTERS, ROMAN)) if relabelled else NUMBERS,
        grouped=bank == 1,
        repeated=bank == 2,
        blank="(?)" if blurred and bits & 2 else "___",
        one_line=blurred and bool(bits & 4),
        short=blurred and bool(bits & 8),
    )


def write(page: Page, layout: Layout) -> str:
    """Write a question."""
    clues = [_item(item, layout.blank) for item in page.items]
    body = [_CLUES + " // ".join(clues)] if layout.one_line and clues else clues
    bank = [f"{page.title}: {_tiles(page.bank, layout.grouped)}"] if page.bank else []
    before = bank if layout.bank_first or (layout.repeated and clues) else []
    after = bank if layout.repeated or not layout.bank_first else []
    return "\n".join([page.header, *before, *body, *after, page.closing])


def read(text: str) -> Page | None:
    """Read a question back, None where it is none of ours. Takes time in proportion to its length."""
    lines = text.strip().split("\n") if len(text) <= MAX_QUESTION else []
    if len(lines) < 3:
        return None
    header, *body, closing = lines
    banks = {line for line in body if line.partition(": ")[0] in _TITLES}
    clues = [part for line in body if line not in banks for part in _parts(line)]
    found = [_ITEM.fullmatch(clue) for clue in clues]
    items = tuple(_read_item(match) for match in found if match)
    if len(banks) > 1 or len(items) != len(found):
        return None
    title, _, bank = banks.pop().partition(": ") if banks else ("Bank", "", "")
    tiles = tuple(bank.replace(" / ", " | ").split(" | ")) if bank else ()
    return Page(header, items, tiles, closing, title)


def _item(item: Item, blank: str) -> str:
    label = f"{item.label}. " if item.label else ""
    first = f", first {item.first}" if item.first else ""
    letters = f" ({item.letters} letters{first})" if item.letters else ""
    return f"{label}{' '.join([blank] * item.blanks)}{letters}{_DASH}{item.clue}"


def _tiles(tiles: Sequence[str], grouped: bool) -> str:
    if not grouped:
        return " | ".join(tiles)
    return " / ".join(" | ".join(tiles[i : i + _GROUP]) for i in range(0, len(tiles), _GROUP))


def _parts(line: str) -> list[str]:
    return line.removeprefix(_CLUES).split(" // ") if line.startswith(_CLUES) else [line]


def _read_item(match: re.Match[str]) -> Item:
    label, blanks, letters, first, clue = match.groups()
    return Item(blanks.count(" ") + 1, clue, label or "", int(letters or 0), first or "")
