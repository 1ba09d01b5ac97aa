"""The contract of the `method` family: what a step minimises."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from realm.core.kinds import Family

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

    from realm.training.batching import Batch


class Method(Protocol):
    """A way to turn a batch of rows into a number to minimise."""

    def loss(self, model: PreTrainedModel, batch: Batch) -> torch.Tensor:
        """Return the loss of the batch, a scalar that carries gradients."""
        ...


METHODS: Family[Method] = Family("method", "realm.training.methods")
