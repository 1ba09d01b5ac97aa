"""Weighted cross-entropy, the formula that several methods share.

Shapes: M trained tokens of a pack, S its sequences.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    from realm.training.batching import Batch, Unit
    from realm.training.trainee import Trainee


def token_weights(batch: Batch, length_exponent: float = 0.0) -> torch.Tensor:
    """Return w_r · a_{r,t} for each trained token (M,), with w_r = (trained tokens of r)^-exponent."""
    trained_S = batch.row_of_M.bincount().float()
    return batch.weights_M * trained_S[batch.row_of_M] ** -length_exponent


def summed_weight(units: Sequence[Unit], length_exponent: float = 0.0) -> float:
    """Return the same weights, summed over all trained tokens of the units."""
    total: float = sum(
        float(sequence.weights[1:].sum()) * sequence.trained_tokens**-length_exponent
        for unit in units
        for sequence in unit.sequences
    )
    return total


def weighted_cross_entropy(trainee: Trainee, batch: Batch, length_exponent: float = 0.0) -> torch.Tensor:
    """Return the pack's weighted sum of cross-entropies in nats, a scalar with gradients."""
    return trainee.cross_entropy(batch, token_weights(batch, length_exponent))
