"""Supervised fine-tuning: imitate the trained tokens of every row.

With rows r of tokens x_{r,1..n} and S the set of trained positions (r, t),

    loss = - 1/|S| · Σ_{(r,t) ∈ S} log p(x_{r,t} | x_{r,1..t-1})

Every trained token weighs the same, whichever row it is in. A row's first token is never in S:
nothing precedes it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from realm.core.config import Config as BaseConfig

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

    from realm.training.batching import Batch


class Supervised:
    """Minimise the mean cross-entropy of the trained tokens, in nats."""

    class Config(BaseConfig):
        """Nothing to choose."""

        kind: Literal["supervised"] = "supervised"

    def __init__(self, config: Config) -> None:
        self.config = config

    def loss(self, model: PreTrainedModel, batch: Batch) -> torch.Tensor:
        """Return the loss of the batch, a scalar that carries gradients."""
        from realm.training.forward import cross_entropy_sum, predictions

        hidden_MC = predictions(model, batch)
        return cross_entropy_sum(model, hidden_MC, batch.targets_M) / batch.trained_tokens
