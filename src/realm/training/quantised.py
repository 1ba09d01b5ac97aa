"""What bitsandbytes does: moments in 8 bits, and frozen weights in 4 bits (QLoRA).

It runs on CUDA GPUs and, from 0.50 on, on x86 CPUs. Its import warns about torch's own
deprecations; that is no matter of ours.
"""

from __future__ import annotations

import warnings
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import torch
from peft import PeftModel
from transformers import PreTrainedModel

from realm.core.errors import MissingExtraError, RefusedError
from realm.models.adapters import decoder
from realm.training.groups import decayed_groups, trainable
from realm.training.optimizer import AdamSettings
from realm.training.selection import is_router

_DEVICES = ("cuda", "cpu")


def bitsandbytes(purpose: str) -> Any:
    """Return the library. Raises MissingExtraError, naming what it is wanted for."""
    if find_spec("bitsandbytes") is None:
        raise MissingExtraError(
            f"{purpose} needs bitsandbytes, which is not installed",
            hint="pip install 'realm-lab[quantised]'; it runs on CUDA GPUs and x86 CPUs",
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return import_module("bitsandbytes")


def adamw8bit(
    model: PreTrainedModel | PeftModel, settings: AdamSettings, *, paged: bool
) -> torch.optim.Optimizer:
    """Build AdamW with moments of 8 bits over all trainable parameters."""
    library = bitsandbytes("an 8-bit optimizer")
    kind = library.optim.PagedAdamW8bit if paged else library.optim.AdamW8bit
    groups = decayed_groups(trainable(model), settings.learning_rate, settings.weight_decay)
    optimizer: torch.optim.Optimizer = kind(groups, betas=settings.betas, eps=settings.eps)
    return optimizer


def quantise(model: PreTrainedModel | PeftModel) -> int:
    """Turn the decoder's frozen linear weights into 4-bit NF4, in place; return how many there are.

    Routers, the head, embeddings, fused 3-D experts and adapters keep their format. The weights'
    scales are quantised too (Dettmers et al. 2023). Raises MissingExtraError, or RefusedError where
    the device has no 4-bit kernels.
    """
    library = bitsandbytes("bits: 4")
    if model.device.type not in _DEVICES:
        raise RefusedError(f"bits: 4 runs on CUDA GPUs and x86 CPUs, the model is on {model.device.type}")
    chosen = [
        (name, module)
        for name, module in decoder(model).named_modules()
        if type(module) is torch.nn.Linear and ".lora_" not in name and not is_router(name)
    ]
    for name, module in chosen:
        parent, _, last = name.rpartition(".")
        setattr(decoder(model).get_submodule(parent), last, _four_bit(library, module))
    return len(chosen)


def _four_bit(library: Any, linear: torch.nn.Linear) -> torch.nn.Module:
    weight = linear.weight
    made: torch.nn.Module = library.nn.Linear4bit(
        linear.in_features,
        linear.out_features,
        bias=linear.bias is not None,
        compute_dtype=weight.dtype,
        quant_type="nf4",
        device="meta",
    )
    made.weight = library.nn.Params4bit(
        weight.data, requires_grad=False, quant_type="nf4", compress_statistics=True
    )
    made.bias = linear.bias
    return made.to(weight.device)
