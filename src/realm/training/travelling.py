"""Units as bytes that one rank sends to another: what lies where, then numbers of four bytes each.

    size of the head (8 bytes, little-endian) | head (JSON, filled up to a multiple of 4) | numbers

The numbers of a unit are each sequence's ids and weights, then its facts in the head's order. Both
sides are the same machine, so numbers lie as it has them, bit by bit.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from realm.models.encodings import Encoded
from realm.training.batching import Unit

_SIZE_BYTES = 8


def to_bytes(units: Sequence[Unit]) -> bytes:
    """Return units as bytes; `from_bytes` gives the same units."""
    heads = [
        {
            "row": unit.row,
            "silent": unit.silent,
            "sequences": [(len(each.ids), each.turns, each.full_tokens) for each in unit.sequences],
            "facts": [(name, len(values)) for name, values in unit.facts.items()],
        }
        for unit in units
    ]
    head = json.dumps(heads).encode()
    head = head.ljust(-(-len(head) // 4) * 4)
    numbers = (array.tobytes() for unit in units for array in _arrays(unit))
    return b"".join([len(head).to_bytes(_SIZE_BYTES, "little"), head, *numbers])


def _arrays(unit: Unit) -> Iterator[NDArray[np.generic]]:
    for sequence in unit.sequences:
        yield np.asarray(sequence.ids, np.int32)
        yield np.asarray(sequence.weights, np.float32)
    for values in unit.facts.values():
        yield np.asarray(values, np.float32)


def from_bytes(said: bytes) -> list[Unit]:
    """Return the units; their arrays are parts of one that may be written."""
    begin = _SIZE_BYTES + int.from_bytes(said[:_SIZE_BYTES], "little")
    numbers = _Numbers(np.frombuffer(bytearray(said[begin:]), np.int32))
    return [
        Unit(
            tuple(
                Encoded(numbers.take(tokens), numbers.take(tokens).view(np.float32), turns, full)
                for tokens, turns, full in head["sequences"]
            ),
            head["row"],
            {name: numbers.take(size).view(np.float32) for name, size in head["facts"]},
            head["silent"],
        )
        for head in json.loads(said[_SIZE_BYTES:begin])
    ]


class _Numbers:
    """Numbers that are taken one stretch after another."""

    def __init__(self, whole: NDArray[np.int32]) -> None:
        self._whole = whole
        self._place = 0

    def take(self, count: int) -> NDArray[np.int32]:
        """Return the next ones."""
        begin, self._place = self._place, self._place + count
        return self._whole[begin : self._place]
