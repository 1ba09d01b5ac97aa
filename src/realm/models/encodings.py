"""Encoded rows as arrays: token ids and weights of many sequences, which lie behind each other.

Shapes: N tokens of all sequences behind each other, S sequences, T tokens of one of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, overload

import numpy as np
from numpy.typing import NDArray


class Encoded(NamedTuple):
    """One sequence of T tokens, cut at the limit that was asked for."""

    ids: NDArray[np.int32]
    """(T,)"""
    weights: NDArray[np.float32]
    """(T,): how much predicting each token counts; 0 where it is masked."""
    turns: int
    """Trained regions: unbroken runs of trained tokens."""
    full_tokens: int
    """Tokens before the cut; more than `len(ids)` where the row was too long."""

    @property
    def trained(self) -> NDArray[np.bool_]:
        """(T,): whether predicting each token is trained."""
        return self.weights > 0

    @property
    def trained_tokens(self) -> int:
        """Trained tokens that something precedes, so that they can be predicted."""
        return int(np.count_nonzero(self.weights[1:]))


@dataclass(frozen=True, slots=True)
class Encodings(Sequence[Encoded]):
    """Sequences that lie behind each other in a few arrays; one of them is a view."""

    ids_N: NDArray[np.int32]
    weights_N: NDArray[np.float32]
    begins_S: NDArray[np.int64]
    """Where each sequence begins."""
    sizes_S: NDArray[np.int64]
    """Tokens of each, after the cut."""
    full_S: NDArray[np.int64]
    """Tokens of each before the cut."""
    turns_S: NDArray[np.int64]
    """Trained regions of each."""

    @classmethod
    def of(
        cls,
        ids_N: NDArray[np.int32],
        weights_N: NDArray[np.float32],
        full_S: NDArray[np.int64],
        max_tokens: int,
    ) -> Encodings:
        """Lay out sequences of `full_S` tokens each, cut at `max_tokens`."""
        begins_S = _starts(full_S)
        sizes_S = np.minimum(full_S, max_tokens)
        return cls(ids_N, weights_N, begins_S, sizes_S, full_S, _regions(weights_N, begins_S, sizes_S))

    def __len__(self) -> int:
        return len(self.begins_S)

    @overload
    def __getitem__(self, index: int) -> Encoded: ...
    @overload
    def __getitem__(self, index: slice) -> list[Encoded]: ...
    def __getitem__(self, index: int | slice) -> Encoded | list[Encoded]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        begin = int(self.begins_S[index])
        end = begin + int(self.sizes_S[index])
        return Encoded(
            self.ids_N[begin:end],
            self.weights_N[begin:end],
            int(self.turns_S[index]),
            int(self.full_S[index]),
        )

    def __iter__(self) -> Iterator[Encoded]:
        return (self[index] for index in range(len(self)))

    def compact(self) -> Encodings:
        """Return the sequences without gaps between them; themselves where there are none."""
        begins_S = _starts(self.sizes_S)
        if np.array_equal(begins_S, self.begins_S) and len(self.ids_N) == int(self.sizes_S.sum()):
            return self
        place_N = np.repeat(self.begins_S - begins_S, self.sizes_S) + np.arange(int(self.sizes_S.sum()))
        return Encodings(
            self.ids_N[place_N], self.weights_N[place_N], begins_S, self.sizes_S, self.full_S, self.turns_S
        )

    def taken(self, chosen: NDArray[np.int64]) -> Encodings:
        """Return some of the sequences; nothing is copied but where they lie."""
        return Encodings(
            self.ids_N,
            self.weights_N,
            self.begins_S[chosen],
            self.sizes_S[chosen],
            self.full_S[chosen],
            self.turns_S[chosen],
        )


def joined(parts: Sequence[Encodings]) -> Encodings:
    """Lay encodings behind each other; one alone is returned as it is."""
    if len(parts) == 1:
        return parts[0]
    sizes = [len(part.ids_N) for part in parts]
    begins = [part.begins_S + sum(sizes[:place]) for place, part in enumerate(parts)]
    return Encodings(
        np.concatenate([part.ids_N for part in parts]),
        np.concatenate([part.weights_N for part in parts]),
        np.concatenate(begins),
        np.concatenate([part.sizes_S for part in parts]),
        np.concatenate([part.full_S for part in parts]),
        np.concatenate([part.turns_S for part in parts]),
    )


def _starts(sizes_S: NDArray[np.int64]) -> NDArray[np.int64]:
    result_S: NDArray[np.int64] = np.cumsum(sizes_S) - sizes_S
    return result_S


def _regions(
    weights_N: NDArray[np.float32], begins_S: NDArray[np.int64], sizes_S: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Count unbroken runs of trained tokens in each sequence."""
    trained_N = np.concatenate([weights_N > 0, [False]])
    rises_N = trained_N.copy()
    rises_N[1:] &= ~trained_N[:-1]
    inside = sizes_S > 0
    rises_N[begins_S[inside]] = trained_N[begins_S[inside]]
    counted_N = np.concatenate([[0], np.cumsum(rises_N, dtype=np.int64)])
    regions_S: NDArray[np.int64] = counted_N[begins_S + sizes_S] - counted_N[begins_S]
    return regions_S
