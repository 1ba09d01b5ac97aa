"""Runs of n words as 64-bit numbers, the same on every machine and in every process.

A word's number is the first 8 bytes of its BLAKE2b hash; a run's is a polynomial of its words' numbers,
mixed. Two different runs get one number with a probability of about 2⁻⁶⁴.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TypeAlias

from realm.core.errors import MissingExtraError

try:
    import numpy as np
    from numpy.typing import NDArray
except ImportError as error:
    raise MissingExtraError(
        "comparing rows needs numpy", hint="install the corpus extra: pip install 'realm-lab[corpus]'"
    ) from error

__all__ = ["Numbers", "WordNumbers", "jaccard", "mixed", "np", "run_sets", "runs"]

Numbers: TypeAlias = "NDArray[np.uint64]"

_FACTOR = np.uint64(0x9E3779B97F4A7C15)
_MIX = np.uint64(0xFF51AFD7ED558CCD)
_SHIFT = np.uint64(32)
_KNOWN_WORDS = 1 << 20


class WordNumbers(dict[str, int]):
    """Number words, remembering up to a million of them (some 120 MB)."""

    def __missing__(self, word: str) -> int:
        if len(self) >= _KNOWN_WORDS:
            self.clear()
        data = word.encode("utf-8", "surrogatepass")
        number = int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little")
        self[word] = number
        return number

    def of(self, words: Sequence[str]) -> Numbers:
        """Return the words' numbers in their order."""
        return np.fromiter(map(self.__getitem__, words), dtype=np.uint64, count=len(words))


def mixed(numbers: Numbers) -> Numbers:
    """Return numbers whose every bit depends on all bits, one to one."""
    numbers = numbers ^ (numbers >> _SHIFT)
    numbers = numbers * _MIX
    return numbers ^ (numbers >> _SHIFT)


def runs(numbers: Numbers, length: int) -> Numbers:
    """Return the number of every run of `length` words; of a shorter text the one run of all its words."""
    length = min(length, len(numbers))
    if length == 0:
        return numbers
    count = len(numbers) - length + 1
    found = numbers[:count].copy()
    for offset in range(1, length):
        found = found * _FACTOR + numbers[offset : offset + count]
    return mixed(found)


def run_sets(texts: Sequence[Numbers], length: int, salts: Numbers) -> tuple[Numbers, NDArray[np.int64]]:
    """Return the distinct runs of many texts, sorted within each: all of them, and where each text begins.

    `salts` has a number a text; runs of texts with different salts are never equal. The second array has
    one more entry than there are texts.
    """
    sizes = np.array([len(text) for text in texts], dtype=np.int64)
    counts = np.where(sizes >= length, sizes - length + 1, np.minimum(sizes, 1))
    begins = np.concatenate(([0], np.cumsum(counts)))
    whole = np.concatenate([*texts, np.zeros(length, dtype=np.uint64)])
    ends = np.cumsum(sizes)
    starts = ends - sizes
    within = np.arange(int(begins[-1]), dtype=np.int64) - np.repeat(begins[:-1], counts)
    at = np.repeat(starts, counts) + within
    left = np.repeat(ends, counts) - at
    flat = whole[at].copy()
    for offset in range(1, length):
        # A text shorter than a run has one run of all its words.
        flat = np.where(offset < left, flat * _FACTOR + whole[at + offset], flat)
    flat = mixed(flat ^ np.repeat(salts, counts))
    for first, last in zip(begins[:-1].tolist(), begins[1:].tolist(), strict=True):
        flat[first:last].sort()
    fresh = np.ones(len(flat), dtype=bool)
    fresh[1:] = flat[1:] != flat[:-1]
    fresh[begins[:-1][counts > 0]] = True
    kept = np.concatenate(([0], np.cumsum(fresh)))
    return flat[fresh], kept[begins].astype(np.int64)


def jaccard(one: Numbers, other: Numbers) -> float:
    """Return the exact Jaccard similarity of two sorted sets, 0 where both are empty."""
    common = len(np.intersect1d(one, other, assume_unique=True))
    whole = len(one) + len(other) - common
    return common / whole if whole else 0.0
