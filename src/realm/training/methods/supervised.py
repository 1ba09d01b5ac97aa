"""Supervised fine-tuning: imitate the trained tokens of every row.

With rows r of tokens x_{r,1..n}, S_r the trained positions of row r and w_r = |S_r|^-e its weight,

    loss = - Σ_r w_r · Σ_{t ∈ S_r} log p(x_{r,t} | x_{r,1..t-1})  /  Σ_r w_r · |S_r|

With e = 0 every trained token weighs the same, whichever row it is in; with e = 1 every row does. A
row's first token is never in S: nothing precedes it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from realm.core.config import Config as BaseConfig

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

    from realm.training.batching import Batch


class Supervised:
    """Minimise the weighted mean cross-entropy of the trained tokens, in nats."""

    class Config(BaseConfig):
        """How rows of different length weigh against each other."""

        kind: Literal["supervised"] = "supervised"
        length_exponent: Annotated[float, Field(ge=0, le=1)] = 0.0
        """e above: 0 counts tokens alike, 1 counts rows alike, so that short answers weigh more."""

    def __init__(self, config: Config) -> None:
        self.config = config

    def loss(self, model: PreTrainedModel, batch: Batch) -> torch.Tensor:
        """Return the loss of the batch, a scalar that carries gradients."""
        from realm.training.forward import cross_entropy_sum, predictions

        hidden_MC = predictions(model, batch)
        weights_M = self._weights(batch)
        return cross_entropy_sum(model, hidden_MC, batch.targets_M, weights_M) / weights_M.sum()

    def _weights(self, batch: Batch) -> torch.Tensor:
        """Return the weight of each trained token's row."""
        trained_R = batch.row_of_M.bincount().float()
        return trained_R[batch.row_of_M] ** -self.config.length_exponent
