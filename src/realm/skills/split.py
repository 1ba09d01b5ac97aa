"""Decide by hash which problems are held back, and visit problems in a hashed order."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator

from realm.core.hashing import canonical_json


class PairSplit:
    """Hold back a share of all problems `(operation, first, second)`.

    One SHAKE-128 stream per (skill, split version, operation, first operand) gives one byte for
    each second operand; the problem is held out if that byte is below 256 times the share. So a
    whole row is counted in one call, and the share acts in steps of 1/256. Holds rows in memory:
    `width` bytes for each first operand asked for.
    """

    def __init__(self, skill: str, version: int, share: float, width: int) -> None:
        self._purpose = (f"{skill}/split", version)
        self._sides = bytes(byte < share * 256 for byte in range(256))
        self._width = width
        self._rows: dict[tuple[str, int], bytes] = {}

    def row(self, operation: str, first: int) -> bytes:
        """Return one byte per second operand, 0 … width-1: 1 held out, 0 for training."""
        row = self._rows.get((operation, first))
        if row is None:
            text = canonical_json([*self._purpose, operation, first])
            stream = hashlib.shake_128(text.encode()).digest(self._width)
            row = self._rows[operation, first] = stream.translate(self._sides)
        return row


def shuffled(size: int, rng: random.Random) -> Iterator[int]:
    """Visit 0 … size-1 in random order, each once, with memory only for what was visited."""
    moved: dict[int, int] = {}
    for index in range(size):
        other = rng.randrange(index, size)
        yield moved.get(other, other)
        moved[other] = moved.get(index, index)
