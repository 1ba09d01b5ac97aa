"""Parameter groups: what decays, what does not, and at which full rate."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from peft import PeftModel
from transformers import PreTrainedModel

from realm.models.adapters import decoder


def decayed_groups(
    parameters: Iterable[torch.nn.Parameter], learning_rate: float, weight_decay: float
) -> list[dict[str, Any]]:
    """Return groups for an optimizer: matrices decay, norms and biases do not; none is empty.

    Each group's `base_lr` is its full rate, which schedules multiply.
    """
    matrices, others = list[torch.nn.Parameter](), list[torch.nn.Parameter]()
    for parameter in parameters:
        (matrices if parameter.ndim >= 2 else others).append(parameter)
    return [
        {"params": members, "weight_decay": decay, "lr": learning_rate, "base_lr": learning_rate}
        for members, decay in ((matrices, weight_decay), (others, 0.0))
        if members
    ]


def trainable(model: torch.nn.Module) -> list[torch.nn.Parameter]:
    """Return the parameters that require gradients, in the model's order."""
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


def hidden_matrices(model: PreTrainedModel | PeftModel) -> list[torch.nn.Parameter]:
    """Return the trained 2-D weights of the linear layers inside the decoder, adapters left out."""
    layers = {
        f"{name}.weight"
        for name, module in decoder(model).named_modules()
        if isinstance(module, torch.nn.Linear) and ".lora_" not in name
    }
    return [p for name, p in decoder(model).named_parameters() if name in layers and p.requires_grad]
