"""Which models the fast decoder computes exactly, and how it takes the place of their own."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.modeling_outputs import BaseModelOutputWithPast

from realm.training.fast.decoder import Decoder
from realm.training.fast.projection import Projection

_BUILDS = ("Llama", "Qwen2", "Qwen3")
_MAPS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


def fit(model: PreTrainedModel) -> bool:
    """Run packs through the fast decoder from now on; return whether the model is of a known build.

    Every other call, such as generation, runs the model's own code as before. Call it after adapters
    were added: a model that it does not know, it leaves alone.
    """
    causal = causal_model(model)
    if not _known(causal):
        return False
    causal.model.forward = _FastForward(causal).forward
    return True


def causal_model(model: PreTrainedModel) -> Any:
    """Return the causal language model itself, without PEFT's wrapper."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


class _FastForward:
    """A model's `forward` that takes packs through the fast decoder.

    A bound method, not a closure: copying the model copies this along with it.
    """

    def __init__(self, causal: Any) -> None:
        self._model = causal.model
        self._decoder = Decoder(causal)

    def forward(self, *arguments: Any, **named: Any) -> Any:
        """Return the hidden states where something is predicted (1, M, C), or what the model returns."""
        if "groups" not in named or not self._usable():
            return type(self._model).forward(self._model, *arguments, **named)
        hidden_MC = self._decoder(
            named["input_ids"].squeeze(0),
            named["position_ids"].squeeze(0),
            named["groups"],
            named["predict_at"],
        )
        return BaseModelOutputWithPast(last_hidden_state=hidden_MC.unsqueeze(0))

    def _usable(self) -> bool:
        checkpointing = self._model.training and self._model.is_gradient_checkpointing
        on_cpu = self._model.embed_tokens.weight.device.type == "cpu"
        return on_cpu and not checkpointing and not torch.is_autocast_enabled("cpu")


def _known(causal: Any) -> bool:
    return _known_config(causal) and _known_modules(causal.model) and _known_parameters(causal.model)


def _known_config(causal: Any) -> bool:
    config, names = causal.config, [f"{build}ForCausalLM" for build in _BUILDS]
    return (
        type(causal).__name__ in names
        and type(causal).__module__.startswith("transformers.models.")
        and config.hidden_act == "silu"
        and not config.attention_dropout
        and set(getattr(config, "layer_types", None) or ["full_attention"]) == {"full_attention"}
        and not causal.is_gradient_checkpointing
    )


def _known_modules(model: Any) -> bool:
    maps = [getattr(half, name) for each in model.layers for half in (each.self_attn, each.mlp)
            for name in _MAPS if hasattr(half, name)]
    return (
        type(model.embed_tokens) is nn.Embedding
        and model.embed_tokens.max_norm is None
        and all(Projection.known(each) for each in maps)
        # Whoever replaced a part's forward pass or listens to it would be passed over.
        and not any(_watched(module) for module in model.modules())
    )


def _watched(module: nn.Module) -> bool:
    hooks: Any = module
    return bool(
        "forward" in module.__dict__
        or hooks._forward_hooks
        or hooks._forward_pre_hooks
        or hooks._backward_hooks
        or hooks._backward_pre_hooks
    )


def _known_parameters(model: Any) -> bool:
    parameters, kind = list(model.parameters()), model.embed_tokens.weight.dtype
    return kind in (torch.float32, torch.float64) and all(
        type(each) is nn.Parameter and each.dtype == kind and each.device.type == "cpu" for each in parameters
    )
