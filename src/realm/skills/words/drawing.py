"""Draw sets of words that share syllables as far as a level asks, and whose tiles fit into its bank.

What is steered is the share of blanks whose tile serves another blank too: `geology` and `biology` have
eight blanks and five tiles, of which three (`ol`, `o`, `gy`) serve six blanks, so 75 % are shared.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from functools import cached_property

from realm.skills.words.lexicon import Word

Words = tuple[Word, ...]

_SPREAD = 0.1
"""How far a puzzle's share may be from its level's."""
_NEAR = 0.04
"""How near a candidate has to come to the share for no other to be tried."""
_CANDIDATES = 12
"""Words that are tried for each place in a set."""
_REDRAWN = 16
"""Sets that are drawn at most until one fits into the bank; the one with the fewest tiles is kept."""


class Pool:
    """The words of a level. Bits stand for tiles, the lowest for the most frequent one."""

    def __init__(self, words: Words) -> None:
        self.words = words

    def draw(self, count: int, shared: float, most_tiles: int, rng: random.Random) -> Words:
        """Draw so many different words, at most as many as there are.

        The share of blanks that share a tile is about `shared`, on average over sets; where the pool has
        too few words with a syllable in common, or without one, it comes as near as they allow.
        """
        least: Words = ()
        fewest = 0
        for _ in range(_REDRAWN):
            drawn, tiles = self._set(count, _spread(shared, rng), rng)
            if not least or tiles < fewest:
                least, fewest = drawn, tiles
            if tiles <= most_tiles:
                break
        return least

    @cached_property
    def _bits(self) -> dict[str, int]:
        often = Counter(syllable for word in self.words for syllable in word.syllables)
        return {syllable: 1 << place for place, (syllable, _) in enumerate(often.most_common())}

    @cached_property
    def _tiles(self) -> list[int]:
        return [sum({self._bits[s] for s in word.syllables}) for word in self.words]

    @cached_property
    def _repeated(self) -> list[int]:
        """Tiles that a word needs more than once itself."""
        counts = (Counter(word.syllables) for word in self.words)
        return [sum(self._bits[s] for s, times in count.items() if times > 1) for count in counts]

    @cached_property
    def _having(self) -> dict[int, list[int]]:
        """Indices of the words that need a tile, where there are several."""
        found: dict[int, list[int]] = defaultdict(list)
        for index, word in enumerate(self.words):
            for syllable in set(word.syllables):
                found[self._bits[syllable]].append(index)
        return {tile: indices for tile, indices in found.items() if len(indices) > 1}

    def _set(self, count: int, target: float, rng: random.Random) -> tuple[Words, int]:
        """Return words, each chosen so that the share comes near the target, and their number of tiles."""
        chosen: list[int] = []
        once = more = shared = blanks = 0
        while len(chosen) < min(count, len(self.words)):
            sources = self._sources(once) if shared < target * blanks else []
            best, distance = -1, 2.0
            for index in self._candidates(chosen, sources, rng):
                tiles = self._tiles[index]
                gained = 2 * (tiles & once).bit_count() + (tiles & more).bit_count()
                off = abs((shared + gained) / (blanks + len(self.words[index].syllables)) - target)
                if off < distance:
                    best, distance = index, off
                    if off < _NEAR:
                        break
            if best < 0:
                continue
            tiles, repeated = self._tiles[best], self._repeated[best]
            shared += 2 * (tiles & once).bit_count() + (tiles & more).bit_count()
            blanks += len(self.words[best].syllables)
            more |= (tiles & once) | repeated
            once = (once | tiles) & ~more
            chosen.append(best)
        return tuple(self.words[index] for index in chosen), (once | more).bit_count()

    def _sources(self, once: int) -> list[list[int]]:
        """Return, for each tile that serves one blank so far, the words that would share it."""
        found = []
        while once:
            tile = once & -once
            once ^= tile
            if tile in self._having:
                found.append(self._having[tile])
        return found

    def _candidates(
        self, chosen: Sequence[int], sources: list[list[int]], rng: random.Random
    ) -> Iterator[int]:
        """Draw words that are not chosen yet, of each four three from the sources, one from the pool."""
        draw, size = rng.random, len(self.words)
        for number in range(_CANDIDATES):
            if sources and number % 4 != 3:
                source = sources[int(draw() * len(sources))]
                index = source[int(draw() * len(source))]
            else:
                index = int(draw() * size)
            if index not in chosen:
                yield index


def _spread(shared: float, rng: random.Random) -> float:
    """Draw the share of one puzzle; the mean over puzzles is that of the level."""
    reach = min(shared, _SPREAD, 1 - shared)
    return shared + reach * (2 * rng.random() - 1)
