"""Which models the fast decoder computes exactly, and how it takes the place of their own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from peft import PeftModel
from torch import nn
from transformers import PreTrainedModel
from transformers.activations import SiLUActivation
from transformers.modeling_outputs import BaseModelOutputWithPast

from realm.models.adapters import base_of, decoder
from realm.training.fast.decoder import Decoder
from realm.training.fast.products import kept_in, supported
from realm.training.fast.projection import Projection
from realm.training.fast.watched import watched

_BUILDS = ("Llama", "Qwen2", "Qwen3")
_MAPS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
_PARTS = {
    "Model": {"embed_tokens": "Embedding", "rotary_emb": "RotaryEmbedding", "norm": "RMSNorm"},
    "DecoderLayer": {
        "input_layernorm": "RMSNorm",
        "self_attn": "Attention",
        "post_attention_layernorm": "RMSNorm",
        "mlp": "MLP",
    },
    "Attention": {**dict.fromkeys(_MAPS[:4], "Map"), "q_norm": "RMSNorm", "k_norm": "RMSNorm"},
    "MLP": {**dict.fromkeys(_MAPS[4:], "Map"), "act_fn": "Activation"},
}
"""What a module of each kind holds, by name; transformers calls its own classes by build and kind."""


def fit(model: PreTrainedModel | PeftModel) -> bool:
    """Run packs through the fast decoder from now on; return whether the model is of a known build.

    Every other call, such as generation, runs the model's own code as before, and so do packs once the
    model has become one that it does not know. Call it after adapters were added.
    """
    causal: Any = base_of(model)
    if not (computes(model) and _known_parameters(causal.model)):
        return False
    causal.model.forward = _FastForward(causal).forward
    return True


def computes(model: PreTrainedModel | PeftModel) -> bool:
    """Tell whether the model is of a known build, whatever format its weights are in."""
    causal: Any = base_of(model)
    return (
        type(causal).__name__ in [f"{build}ForCausalLM" for build in _BUILDS]
        and type(causal).__module__ == type(causal.model).__module__
        and not watched(causal.model)
        and _known_config(causal.model)
        and _known_modules(causal.model)
    )


def takes_packs(model: PreTrainedModel | PeftModel) -> bool:
    """Tell whether packs go through the fast decoder now: it was fitted, and nothing came up since."""
    fitted = getattr(decoder(model).__dict__.get("forward"), "__self__", None)
    return isinstance(fitted, _FastForward) and fitted.usable()


class _FastForward:
    """A model's `forward` that takes packs through the fast decoder.

    A bound method, not a closure: copying the model copies this along with it.
    """

    def __init__(self, causal: Any) -> None:
        self._model = causal.model
        self._decoder = Decoder(causal)
        self._held = [*_parts("Model", self._model)]
        self._kept_in = kept_in(self._model.embed_tokens.weight.dtype)

    def forward(self, *arguments: Any, **named: Any) -> Any:
        """Return the hidden states where something is predicted (1, M, C), or what the model returns."""
        if "groups" not in named or not self.usable():
            return type(self._model).forward(self._model, *arguments, **named)
        hidden_MC = self._decoder(
            named["input_ids"].squeeze(0),
            named["position_ids"].squeeze(0),
            named["groups"],
            named["predict_at"],
        )
        return BaseModelOutputWithPast(last_hidden_state=hidden_MC.unsqueeze(0))

    def usable(self) -> bool:
        """Tell whether nothing came up since that the decoder does not do, such as recomputed layers."""
        model = self._model
        return (
            supported()
            and not (model.training and any(map(_checkpointed, model.layers)))
            and _known_config(model)
            and _known_modules(model)
            # Adapters that were added since, or a part that was exchanged, the decoder would not see.
            and [*_parts("Model", model)] == self._held
            and _known_parameters(model)
            and kept_in(model.embed_tokens.weight.dtype) is self._kept_in
        )


def _checkpointed(layer: Any) -> bool:
    return bool(getattr(layer, "gradient_checkpointing", False))


def _known_config(model: Any) -> bool:
    config = model.config
    return (
        config.hidden_act == "silu"
        and not config.attention_dropout
        and set(getattr(config, "layer_types", None) or ["full_attention"]) == {"full_attention"}
        # transformers computes so many layers, whatever there are.
        and 0 < config.num_hidden_layers == len(model.layers)
    )


def _known_modules(model: Any) -> bool:
    below = (module for child in model.children() for module in child.modules())
    return (
        type(model).__module__.startswith("transformers.models.")
        and all(_known_part(kind, part, type(model)) for kind, part in _parts("Model", model))
        # Whoever replaced a part's forward pass or listens to it would be passed over.
        and not any(map(watched, below))
    )


def _parts(kind: str, module: Any) -> Iterator[tuple[str, nn.Module]]:
    """Yield a module and what it holds that the decoder computes itself, with what it takes each for."""
    yield kind, module
    for name, held in _PARTS.get(kind, {}).items():
        if hasattr(module, name):
            yield from _parts(held, getattr(module, name))
    for layer in module.layers if kind == "Model" else ():
        yield from _parts("DecoderLayer", layer)


def _known_part(kind: str, part: nn.Module, model: type[nn.Module]) -> bool:
    """Tell whether a part is what a model of this class is made with."""
    match kind:
        case "Map":
            return Projection.known(part)
        case "Embedding":
            return _known_embedding(part)
        case "Activation":
            return type(part) in (nn.SiLU, SiLUActivation)
    names = [f"{build}{kind}" for build in _BUILDS]
    return type(part).__name__ in names and type(part).__module__ == model.__module__


def _known_embedding(embedding: Any) -> bool:
    weight = embedding.weight
    return (
        type(embedding) is nn.Embedding
        and embedding.max_norm is None
        and not embedding.scale_grad_by_freq
        and not embedding.sparse
        # Where it is tied to the head, they would be shown the head's part of the gradient alone.
        and not weight._backward_hooks
        and not weight._post_accumulate_grad_hooks
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
