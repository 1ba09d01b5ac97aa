"""Clues as they are shown, and the words that each of them may mean."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

from realm.skills.words.lexicon import Lexicon, Word

_SHOWN = {
    "definition": "{}",
    "synonym": "also: {}",
    "hypernym": "a kind of: {}",
    "example": "for example: {}",
    "domain": "field: {}",
    "antonym": "opposite: {}",
    "etymology": "origin: {}",
}
_LETTERS, _ENDING = "{} letters", ", ends in -{}"
_FIRST_LETTER = "starts with {}, "
_CUT = " ..."

KINDS: tuple[tuple[str, ...], ...] = (
    ("definition", "synonym"),
    ("hypernym", "example"),
    ("domain", "morphology", "antonym"),
    ("etymology", "first letter"),
)
"""Kinds of clue, strongest first. A level uses one row, or two of them that follow each other."""
MEANING = frozenset(_SHOWN) - {"domain"}
"""Kinds that say enough to find a word without seeing its syllables."""

KEPT_WORDS = 5
"""Words that are left, at least, of a clue that is cut short; its label is not counted."""


class Shown(NamedTuple):
    """A clue as it is shown, with its label."""

    whole: str
    short: str
    """The same where it is short already."""


class Clues:
    """Every clue of every word, whole and cut short, found by what is shown."""

    def __init__(self, lexicon: Lexicon) -> None:
        self._texts: dict[str, dict[str, Shown]] = {}
        self._meant: dict[str, list[Word]] = defaultdict(list)
        for word in lexicon.words:
            self._texts[word.word] = texts = _texts(word)
            for text in {text for shown in texts.values() for text in shown}:
                self._meant[text].append(word)

    def choose(
        self,
        word: Word,
        hints: float,
        rng: random.Random,
        fits: Callable[[Word], bool],
        *,
        meaning: bool = False,
        short: bool = False,
    ) -> str:
        """Return a clue that no other word that fits has.

        It is of the row that `hints` asks for, else of the nearest stronger row that has one.

        With `meaning`, kinds that say too little on their own are left out; with `short`, a long
        clue is cut where that leaves it clear.
        """
        texts = self._texts[word.word]
        row = int(hints + rng.random())
        for kinds in reversed(KINDS[:row]):
            shown = [texts[kind] for kind in kinds if kind in texts and (kind in MEANING or not meaning)]
            first = int(rng.random() * len(shown))
            for clue in shown[first:] + shown[:first]:
                for text in (clue.short, clue.whole) if short else (clue.whole,):
                    if self.is_clear(text, word, fits):
                        return text
        return texts["definition"].whole

    def is_clear(self, text: str, word: Word, fits: Callable[[Word], bool]) -> bool:
        """Say whether a clue means this word and no other that fits."""
        return not any(other is not word and fits(other) for other in self._meant[text])

    def meant(self, text: str, fits: Callable[[Word], bool]) -> Word | None:
        """Return the one word that fits and has this clue, None if there is not exactly one."""
        found = [word for word in self._meant.get(text, ()) if fits(word)]
        return found[0] if len(found) == 1 else None


def made_of(count: int, tiles: Collection[str]) -> Callable[[Word], bool]:
    """Fit words of so many syllables that are all among the tiles."""
    has = frozenset(tiles).issuperset
    return lambda word: len(word.syllables) == count and has(word.syllables)


def among(names: Sequence[str]) -> Callable[[Word], bool]:
    """Fit the words of a bank."""
    has = frozenset(names)
    return lambda word: word.word in has


def like(count: int, letters: int, first: str) -> Callable[[Word], bool]:
    """Fit words of so many syllables and letters with a first letter, of either case; empty fits all."""
    start = first.lower()
    return lambda word: (
        len(word.word) == letters and len(word.syllables) == count and word.word.startswith(start)
    )


def cut(clue: str) -> str:
    """Cut a long clue short, never inside a quotation."""
    words = clue.split(" ")
    for kept in range(KEPT_WORDS, len(words) - 1):
        start = " ".join(words[:kept])
        if start.count("'") % 2 == 0:
            return start.rstrip(",;") + _CUT
    return clue


def _texts(word: Word) -> dict[str, Shown]:
    letters, first = _LETTERS.format(len(word.word)), _FIRST_LETTER.format(word.word[0].upper())
    texts: dict[str, Shown] = {
        kind: Shown(_SHOWN[kind].format(clue), _SHOWN[kind].format(cut(clue)))
        for kind, clue in word.clues.items()
    }
    texts["morphology"] = Shown(letters + _ENDING.format(word.word[-2:]), letters + _CUT)
    texts["first letter"] = Shown(first + letters, first + letters)
    return texts
