"""Which models the fast decoder computes exactly, and how it takes the place of their own."""

from __future__ import annotations

from typing import Any

import torch
from peft import PeftModel
from torch import nn
from transformers import PreTrainedModel
from transformers.modeling_outputs import BaseModelOutputWithPast

from realm.models.adapters import base_of
from realm.training.fast.decoder import Decoder
from realm.training.fast.products import kept_in, supported
from realm.training.fast.projection import Projection
from realm.training.fast.watched import watched

_BUILDS = ("Llama", "Qwen2", "Qwen3")
_MAPS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


def fit(model: PreTrainedModel | PeftModel) -> bool:
    """Run packs through the fast decoder from now on; return whether the model is of a known build.

    Every other call, such as generation, runs the model's own code as before. Call it after adapters
    were added: a model that it does not know, it leaves alone.
    """
    causal: Any = base_of(model)
    if not (computes(model) and _known_parameters(causal.model)):
        return False
    causal.model.forward = _FastForward(causal).forward
    return True


def computes(model: PreTrainedModel | PeftModel) -> bool:
    """Tell whether the model is of a known build, whatever format its weights are in."""
    causal: Any = base_of(model)
    return _known_config(causal) and _known_modules(causal.model)


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
        """Tell whether nothing came up since that the decoder does not do, such as recomputed layers."""
        checkpointing = self._model.training and any(map(_checkpointed, self._model.layers))
        on_cpu = self._model.embed_tokens.weight.device.type == "cpu"
        return on_cpu and not checkpointing and not any(map(watched, self._model.layers)) and supported()


def _checkpointed(layer: Any) -> bool:
    return bool(getattr(layer, "gradient_checkpointing", False))


def _known_config(causal: Any) -> bool:
    config, names = causal.config, [f"{build}ForCausalLM" for build in _BUILDS]
    return (
        type(causal).__name__ in names
        and type(causal).__module__.startswith("transformers.models.")
        and config.hidden_act == "silu"
        and not config.attention_dropout
        and set(getattr(config, "layer_types", None) or ["full_attention"]) == {"full_attention"}
    )


def _known_modules(model: Any) -> bool:
    halves = [half for layer in model.layers for half in (layer.self_attn, layer.mlp)]
    maps = [getattr(half, name) for half in halves for name in _MAPS if hasattr(half, name)]
    return (
        type(model.embed_tokens) is nn.Embedding
        and model.embed_tokens.max_norm is None
        and all(Projection.known(each) for each in maps)
        # Whoever replaced a part's forward pass or listens to it would be passed over.
        and not any(watched(module) for module in model.modules())
    )


def _known_parameters(model: Any) -> bool:
    kept = kept_in(model.embed_tokens.weight.dtype)
    frozen = {kept, torch.bfloat16} if kept is torch.float32 else {kept}
    return kept in (torch.float32, torch.float64) and all(
        type(each) is nn.Parameter
        and each.dtype in ({kept} if each.requires_grad else frozen)
        and each.device.type == "cpu"
        for each in model.parameters()
    )
