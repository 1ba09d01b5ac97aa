"""Give up speed for memory: layers that keep only their input and are computed again.

In the forward pass such a layer saves what comes in; the backward pass runs it a second time for
the rest (Chen et al. 2016). Random draws are repeated, so losses and gradients stay the same.
Whoever replaces a layer's `forward` does so before this.
"""

from __future__ import annotations

from typing import Any

from peft import PeftModel
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel

from realm.models.adapters import decoder


class Recomputed:
    """A layer's forward pass that keeps its input alone."""

    def __init__(self, forward: Any) -> None:
        self._forward = forward

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return checkpoint(self._forward, *args, use_reentrant=False, **kwargs)


def recompute_layers(model: PreTrainedModel | PeftModel, every: int) -> int:
    """Let every so manieth decoder layer be computed again; 1 means all. Return how many are.

    The first layer of each group of `every` is taken. Layers that are set already stay.
    """
    layers: Any = decoder(model).layers
    chosen = [layer for index, layer in enumerate(layers) if index % every == 0]
    for layer in chosen:
        if not isinstance(layer.forward, Recomputed):
            layer.forward = Recomputed(layer.forward)
    return len(chosen)
