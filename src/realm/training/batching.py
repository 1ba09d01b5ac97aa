"""How the sequences of a step lie in its packs.

Sequences lie behind each other without padding,
shortest first, each with positions from 0. A sequence's last token predicts nothing and is no input.

Shapes: N input tokens of a pack, M trained tokens, S sequences, T tokens of one of them.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby

import numpy as np
import torch
from numpy.typing import NDArray

from realm.models.encodings import Encoded
from realm.training.attention import Groups


@dataclass(frozen=True, slots=True)
class Unit:
    """Sequences that one loss needs together: one alone, a preference's two, …"""

    sequences: tuple[Encoded, ...]
    row: int = 0
    """Index of the row it comes from."""
    facts: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    """What the method has to remember of it, such as an advantage."""
    silent: bool = False
    """It moves no weight and is computed for its figures alone, as an answer that was cut off."""

    @property
    def tokens(self) -> int:
        return sum(len(sequence.ids) for sequence in self.sequences)

    @property
    def trained_tokens(self) -> int:
        return sum(sequence.trained_tokens for sequence in self.sequences)

    @property
    def learnt_tokens(self) -> int:
        return 0 if self.silent else self.trained_tokens


@dataclass(frozen=True, slots=True)
class Batch:
    """One pack of sequences, ready for the model."""

    inputs_N: torch.Tensor
    positions_N: torch.Tensor
    predict_at_M: torch.Tensor
    """Where in the pack a trained token is predicted: one place before it."""
    targets_M: torch.Tensor
    weights_M: torch.Tensor
    """How much each trained token counts, above 0."""
    row_of_M: torch.Tensor
    """Index into the sequences as given, for each trained token."""
    groups: Groups
    units: tuple[Unit, ...]
    """What the pack holds, in the order of its sequences as given."""
    tokens: int
    """Real tokens of the sequences, last ones included."""
    trained_tokens: int

    @property
    def sequences(self) -> int:
        """How many sequences the pack holds."""
        return sum(len(unit.sequences) for unit in self.units)


def steps_per_epoch(rows: int, batch_rows: int) -> int:
    """Return the steps in which every row is seen once; the last one may be smaller."""
    return math.ceil(rows / batch_rows)


def steps_in_all(rows: int, batch_rows: int, *, epochs: float | None, steps: int | None) -> int:
    """Return the steps of a whole run, at least 1."""
    if steps is not None:
        return steps
    return max(1, math.ceil((epochs or 0) * rows / batch_rows))


def best_fit(units: Sequence[Unit], max_tokens: int | None) -> list[list[Unit]]:
    """Put units into as few packs of at most `max_tokens` as best-fit decreasing finds.

    A unit that is longer has a pack of its own; without a limit all share one. Units keep their
    order within a pack, and packs that of their first unit.
    """
    if max_tokens is None:
        return [list(units)]
    rooms: list[tuple[int, int]] = []  # what is free in a pack, and the pack's index; sorted
    packs: list[list[int]] = []
    for index in sorted(range(len(units)), key=lambda i: (-units[i].tokens, i)):
        size = units[index].tokens
        place = bisect.bisect_left(rooms, (size, -1))
        if place == len(rooms):
            packs.append([index])
            bisect.insort(rooms, (max(0, max_tokens - size), len(packs) - 1))
        else:
            free, pack_index = rooms.pop(place)
            packs[pack_index].append(index)
            bisect.insort(rooms, (free - size, pack_index))
    return [[units[i] for i in sorted(members)] for members in sorted(packs, key=min)]


def laid(rows: Sequence[Encoded]) -> list[int]:
    """Return in which order sequences lie in a pack: shortest first, of equal ones the earlier."""
    return sorted(range(len(rows)), key=lambda i: len(rows[i].ids))


def pack(units: Sequence[Unit | Encoded], device: torch.device | str = "cpu") -> Batch:
    """Lay sequences behind each other, shortest first. Each needs at least two tokens."""
    wrapped = tuple(unit if isinstance(unit, Unit) else Unit((unit,)) for unit in units)
    rows = [sequence for unit in wrapped for sequence in unit.sequences]
    ordered = laid(rows)
    sizes = [len(rows[i].ids) - 1 for i in ordered]
    begins = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    places = [np.flatnonzero(rows[i].weights[1:]) for i in ordered]
    trained = [len(found) for found in places]
    return Batch(
        inputs_N=_tensor([rows[i].ids[:-1] for i in ordered], torch.long, device),
        positions_N=_tensor([np.arange(size) for size in sizes], torch.long, device),
        predict_at_M=_tensor([b + p for b, p in zip(begins, places, strict=True)], torch.long, device),
        targets_M=_tensor(
            [rows[i].ids[1:][p] for i, p in zip(ordered, places, strict=True)], torch.long, device
        ),
        weights_M=_tensor(
            [rows[i].weights[1:][p] for i, p in zip(ordered, places, strict=True)], torch.float32, device
        ),
        row_of_M=_tensor([np.repeat(ordered, trained)], torch.long, device),
        groups=tuple((len(list(members)), length) for length, members in groupby(sizes)),
        units=wrapped,
        tokens=sum(len(row.ids) for row in rows),
        trained_tokens=sum(trained),
    )


def with_groups(batch: Batch, count: int) -> Batch:
    """Return a pack of so many groups: those behind its own are of a single token, and predict nothing."""
    more = count - len(batch.groups)
    if more <= 0:
        return batch
    zeros = batch.inputs_N.new_zeros(more)
    return replace(
        batch,
        inputs_N=torch.cat([batch.inputs_N, zeros]),
        positions_N=torch.cat([batch.positions_N, zeros]),
        groups=(*batch.groups, *((1, 1) for _ in range(more))),
    )


def _tensor(
    parts: Sequence[NDArray[np.generic]], dtype: torch.dtype, device: torch.device | str
) -> torch.Tensor:
    return torch.from_numpy(np.concatenate(parts)).to(device=device, dtype=dtype)
