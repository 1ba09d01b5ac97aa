"""Clues as they are shown, and the words that each of them may mean."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Sequence

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
_MORPHOLOGY = "{} letters, ends in -{}"
_FIRST_LETTER = "starts with {}"

KINDS: tuple[tuple[str, ...], ...] = (
    ("definition", "synonym"),
    ("hypernym", "example"),
    ("domain", "morphology", "antonym"),
    ("etymology", "first letter"),
)
"""Kinds of clue, strongest first. A level uses one row and the row before it."""
MEANING = frozenset(_SHOWN) - {"domain"}
"""Kinds that say enough to find a word without seeing its syllables."""

KEPT_WORDS = 4
"""Words that are left of a clue that is cut short."""


class Clues:
    """Every clue of every word, whole and cut short, found by what is shown."""

    def __init__(self, lexicon: Lexicon) -> None:
        self._texts: dict[str, dict[str, str]] = {}
        self._meant: dict[str, list[Word]] = defaultdict(list)
        for word in lexicon.words:
            self._texts[word.word] = texts = _texts(word)
            for text in {*texts.values(), *map(cut, texts.values())}:
                self._meant[text].append(word)

    def choose(
        self,
        word: Word,
        hints: int,
        rng: random.Random,
        fits: Callable[[Word], bool],
        *,
        meaning: bool = False,
        short: bool = False,
    ) -> str:
        """Return a clue that no other word that fits has; the definition where there is no weaker one.

        With `meaning`, kinds that say too little on their own are left out; with `short`, a long
        clue is cut where that leaves it clear.
        """
        texts = self._texts[word.word]
        kinds = [k for row in KINDS[max(0, hints - 2) : hints] for k in row if k in texts]
        if meaning:
            kinds = [kind for kind in kinds if kind in MEANING]
        whole = texts[rng.choice(kinds)] if kinds else texts["definition"]
        for text in (cut(whole), whole) if short else (whole,):
            if self.is_clear(text, word, fits):
                return text
        return texts["definition"]

    def is_clear(self, text: str, word: Word, fits: Callable[[Word], bool]) -> bool:
        """Say whether a clue means this word and no other that fits."""
        return not any(other is not word and fits(other) for other in self._meant[text])

    def meant(self, text: str, fits: Callable[[Word], bool]) -> Word | None:
        """Return the one word that fits and has this clue, None if there is not exactly one."""
        found = [word for word in self._meant.get(text, ()) if fits(word)]
        return found[0] if len(found) == 1 else None


def made_of(count: int, tiles: Sequence[str]) -> Callable[[Word], bool]:
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


def cut(text: str) -> str:
    """Cut a long clue short."""
    words = text.split(" ")
    return text if len(words) <= KEPT_WORDS + 1 else " ".join(words[:KEPT_WORDS]).rstrip(",;") + " ..."


def _texts(word: Word) -> dict[str, str]:
    texts: dict[str, str] = {kind: _SHOWN[kind].format(clue) for kind, clue in word.clues.items()}
    texts["morphology"] = _MORPHOLOGY.format(len(word.word), word.word[-2:])
    texts["first letter"] = _FIRST_LETTER.format(word.word[0].upper())
    return texts
