"""The problems of a level: which there are, and how they are drawn and visited on one side of the split."""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import combinations
from math import comb

from realm.skills.skill import Side
from realm.skills.split import shuffled
from realm.skills.words import keys
from realm.skills.words.dimensions import MOST_TILES, Dimensions
from realm.skills.words.drawing import Pool, Words
from realm.skills.words.lexicon import Lexicon, Word

COUNTED = 4096
"""Sets of words up to this number are listed; of more, some are drawn."""
_TRIES = 200
"""Draws in a row that may bring nothing new before a space counts as exhausted."""


class Spaces:
    """Problems by level and primitive, held back with one share. What was counted is remembered."""

    def __init__(self, lexicon: Lexicon, share: float) -> None:
        self.lexicon = lexicon
        self._share = share
        self._pools: dict[int, Pool] = {}
        self._single: dict[tuple[int, str, Side], Words] = {}
        self._listed: dict[tuple[int, str, Side], list[Words]] = {}
        self._heldout: dict[str, bool] = {}

    def side(self, key: str) -> Side:
        """Return the side of a problem."""
        return "heldout" if keys.is_heldout(self._share, key) else "train"

    def pool(self, dims: Dimensions) -> Pool:
        """Return the words that a level uses."""
        if dims.level not in self._pools:
            words = tuple(word for word in self.lexicon.words if _belongs(dims, word))
            self._pools[dims.level] = Pool(words)
        return self._pools[dims.level]

    def single(self, dims: Dimensions, primitive: str, side: Side) -> Words:
        """Return the words of one side, for a primitive that asks for one word."""
        where = dims.level, keys.PRIMITIVES[primitive].domain, side
        if where not in self._single:
            pool = self.pool(dims).words
            self._single[where] = tuple(w for w in pool if self._word_side(primitive, w) == side)
        return self._single[where]

    def others(
        self, dims: Dimensions, primitive: str, word: Word, count: int, rng: random.Random
    ) -> list[Word]:
        """Draw up to so many words of the same level and side, this one left out."""
        pool = self.single(dims, primitive, self._word_side(primitive, word))
        return [w for w in rng.sample(pool, min(count + 1, len(pool))) if w is not word][:count]

    def count(self, dims: Dimensions, primitive: str) -> tuple[int, int, bool]:
        """Return (problems, held-out ones, whether they were counted one by one)."""
        if not keys.PRIMITIVES[primitive].several:
            heldout = len(self.single(dims, primitive, "heldout"))
            return len(self.pool(dims).words), heldout, True
        size = comb(len(self.pool(dims).words), dims.words)
        if size <= COUNTED:
            return size, len(self._sets(dims, primitive, "heldout")), True
        return size, round(size * self._share), False

    def holds(self, dims: Dimensions, primitive: str, words: Words) -> bool:
        """Say whether a level may ask this of these words."""
        several = keys.PRIMITIVES[primitive].several
        return len(words) == (dims.words if several else 1) and all(_belongs(dims, word) for word in words)

    def draw(self, dims: Dimensions, primitive: str, side: Side, rng: random.Random) -> Words | None:
        """Draw a problem of one side, None where there is none."""
        if not keys.PRIMITIVES[primitive].several:
            words = self.single(dims, primitive, side)
            return (rng.choice(words),) if words else None
        if comb(len(self.pool(dims).words), dims.words) <= COUNTED:
            sets = self._sets(dims, primitive, side)
            return rng.choice(sets) if sets else None
        pool, most_tiles = self.pool(dims), MOST_TILES - dims.herrings
        for _ in range(_TRIES):
            drawn = pool.draw(dims.words, dims.shared, most_tiles, rng)
            if self.side(keys.key(primitive, drawn)) == side:
                return drawn
        return None

    def walk(self, dims: Dimensions, primitive: str, side: Side, rng: random.Random) -> Iterator[Words]:
        """Visit one side in random order, each problem once."""
        if not keys.PRIMITIVES[primitive].several:
            words = self.single(dims, primitive, side)
            yield from ((words[index],) for index in shuffled(len(words), rng))
        elif comb(len(self.pool(dims).words), dims.words) <= COUNTED:
            sets = self._sets(dims, primitive, side)
            yield from (sets[index] for index in shuffled(len(sets), rng))
        else:
            yield from self._drawn(dims, primitive, side, rng)

    def _drawn(self, dims: Dimensions, primitive: str, side: Side, rng: random.Random) -> Iterator[Words]:
        seen: set[str] = set()
        tries = 0
        while tries < _TRIES and (words := self.draw(dims, primitive, side, rng)):
            tries += 1
            key = keys.key(primitive, words)
            if key not in seen:
                seen.add(key)
                tries = 0
                yield words

    def _word_side(self, primitive: str, word: Word) -> Side:
        key = keys.key(primitive, (word,))
        if key not in self._heldout:
            self._heldout[key] = keys.is_heldout(self._share, key)
        return "heldout" if self._heldout[key] else "train"

    def _sets(self, dims: Dimensions, primitive: str, side: Side) -> list[Words]:
        where = dims.level, primitive, side
        if where not in self._listed:
            sets = combinations(self.pool(dims).words, dims.words)
            self._listed[where] = [s for s in sets if self.side(keys.key(primitive, s)) == side]
        return self._listed[where]


def _belongs(dims: Dimensions, word: Word) -> bool:
    (fewest, most), (lowest, highest) = dims.syllables, dims.rarity
    return fewest <= len(word.syllables) <= most and lowest <= word.rarity <= highest
