"""Which rows a step sees, and how they lie in its pack.

The order is a pure function of (seed, epoch): the number of steps taken *is* the position in the
data, so nothing else has to be saved to resume. Rows lie behind each other without padding,
shortest first, each with positions from 0. A row's last token predicts nothing and is no input.

Shapes: N input tokens of a pack, M trained tokens.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal

import torch

from realm.core.seeds import rng
from realm.models.chat import Encoded
from realm.training.attention import Groups


@dataclass(frozen=True, slots=True)
class Batch:
    """One pack of rows, ready for the model."""

    inputs_N: torch.Tensor
    positions_N: torch.Tensor
    predict_at_M: torch.Tensor
    """Where in the pack a trained token is predicted: one place before it."""
    targets_M: torch.Tensor
    row_of_M: torch.Tensor
    """Index into the rows as given, for each trained token."""
    groups: Groups
    tokens: int
    """Real tokens of the rows, last ones included."""
    trained_tokens: int


def steps_per_epoch(rows: int, batch_rows: int) -> int:
    """Return the steps in which every row is seen once; the last one may be smaller."""
    return math.ceil(rows / batch_rows)


def steps_in_all(rows: int, batch_rows: int, *, epochs: float | None, steps: int | None) -> int:
    """Return the steps of a whole run, at least 1."""
    if steps is not None:
        return steps
    return max(1, math.ceil((epochs or 0) * rows / batch_rows))


def rows_of_step(
    step: int, rows: int, batch_rows: int, *, order: Literal["shuffled", "given"], seed: int
) -> list[int]:
    """Return the indices of the rows that step `step` (from 0) trains on."""
    epoch, place = divmod(step, steps_per_epoch(rows, batch_rows))
    indices = list(range(rows))
    if order == "shuffled":
        rng("order", seed, epoch).shuffle(indices)
    return indices[place * batch_rows : (place + 1) * batch_rows]


def pack(rows: Sequence[Encoded], device: torch.device | str = "cpu") -> Batch:
    """Lay rows behind each other, shortest first. Each row needs at least two tokens."""
    ordered = sorted(range(len(rows)), key=lambda i: len(rows[i].ids))
    inputs, positions = list[int](), list[int]()
    predict_at, targets, row_of = list[int](), list[int](), list[int]()
    for index in ordered:
        row, begin = rows[index], len(inputs)
        inputs += row.ids[:-1]
        positions += range(len(row.ids) - 1)
        trained = [place for place in range(1, len(row.ids)) if row.trained[place]]
        predict_at += [begin + place - 1 for place in trained]
        targets += [row.ids[place] for place in trained]
        row_of += [index] * len(trained)
    lengths = groupby(len(rows[index].ids) - 1 for index in ordered)
    return Batch(
        inputs_N=torch.tensor(inputs, device=device),
        positions_N=torch.tensor(positions, device=device),
        predict_at_M=torch.tensor(predict_at, device=device),
        targets_M=torch.tensor(targets, device=device),
        row_of_M=torch.tensor(row_of, device=device),
        groups=tuple((len(list(members)), length) for length, members in lengths),
        tokens=sum(len(row.ids) for row in rows),
        trained_tokens=len(targets),
    )
