"""The numbers of a model, and every weight that follows from them, without loading it.

A shape is read from a blank's settings or from a `config.json`; the names and sizes of its weights
are those of transformers' builds (Llama, Qwen2, Qwen3, Qwen3-MoE, Qwen3-Next, and the text part of
Qwen3-VL, whose vision tower is a count alone). Not covered: mixtures whose layers differ in kind
(`mlp_only_layers`), and builds of other names, which are counted as Llama's are.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from realm.core.config import Config
from realm.core.errors import ConfigError
from realm.core.records import Record

_PATCH = 3 * 2 * 16 * 16
"""Values of one image patch that a vision tower reads: colours, frames, height, width."""
_CONVOLVED = 4
"""Tokens that a linear layer's convolution sees."""


class Build(NamedTuple):
    """What a family of models does that its numbers do not say."""

    normed_heads: bool = False
    """Queries and keys pass a norm of their own."""
    gated_heads: bool = False
    """Queries are projected to twice their width; one half gates the output."""
    biased: bool = False
    """Queries, keys and values have biases."""
    trimmed: bool = True
    """The engine computes the last layer only where something is predicted."""
    prefix: str = "model."


_BUILDS = {
    "qwen2": Build(biased=True),
    "qwen3": Build(normed_heads=True),
    "qwen3_moe": Build(normed_heads=True, trimmed=False),
    "qwen3_next": Build(normed_heads=True, gated_heads=True, trimmed=False),
    "qwen3_vl": Build(normed_heads=True, trimmed=False, prefix="model.language_model."),
}


class Tensor(NamedTuple):
    """One weight of a model."""

    name: str
    """As transformers calls it, or a PEFT matrix that would lie beside it."""
    size: tuple[int, ...]
    linear: bool
    """A matrix of a linear map, which an adapter can lie beside."""

    @property
    def values(self) -> int:
        return math.prod(self.size)


class Shape(Record):
    """A language model in numbers."""

    model_type: str
    vocabulary: int
    hidden: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    mlp: int = 0
    """Width of a dense MLP; 0 where experts stand in its place."""
    tied: bool
    context_tokens: int
    experts: int = 0
    experts_per_token: int = 0
    expert: int = 0
    """Width of a routed expert."""
    shared_expert: int = 0
    full_attention_every: int = 1
    """Of so many layers the last attends in full, the others linearly."""
    linear_key_heads: int = 0
    linear_value_heads: int = 0
    linear_key_dim: int = 0
    linear_value_dim: int = 0
    vision_parameters: int = 0

    @property
    def build(self) -> Build:
        """What this family does beside its numbers."""
        return _BUILDS.get(self.model_type, Build())

    def attends(self, layer: int) -> bool:
        """Return whether a layer attends in full."""
        return (layer + 1) % self.full_attention_every == 0

    @property
    def linear_widths(self) -> tuple[int, int]:
        """Widths of all keys and of all values of a linear layer."""
        return (
            self.linear_key_heads * self.linear_key_dim,
            self.linear_value_heads * self.linear_value_dim,
        )

    @property
    def parameters(self) -> int:
        """All weights, the vision tower included."""
        return sum(tensor.values for tensor in self.tensors()) + self.vision_parameters

    def tensors(self) -> tuple[Tensor, ...]:
        """Return every weight of the text model, once where it is shared."""
        return _tensors(self)

    def _each(self) -> Iterator[Tensor]:
        prefix = self.build.prefix
        yield Tensor(f"{prefix}embed_tokens.weight", (self.vocabulary, self.hidden), False)
        for layer in range(self.layers):
            yield from self.layer(layer)
        yield Tensor(f"{prefix}norm.weight", (self.hidden,), False)
        if not self.tied:
            yield Tensor("lm_head.weight", (self.vocabulary, self.hidden), True)

    def layer(self, number: int) -> Iterator[Tensor]:
        """Yield the weights of one layer."""
        prefix = f"{self.build.prefix}layers.{number}."
        mixing = self._attention() if self.attends(number) else self._linear_attention()
        inner = self._mixture() if self.experts else _mlp("mlp", self.hidden, self.mlp)
        for name, *size in (*mixing, *inner):
            linear = len(size) == 2 and not name.endswith(_NOT_LINEAR)
            yield Tensor(prefix + name, tuple(size), linear)
        yield Tensor(f"{prefix}input_layernorm.weight", (self.hidden,), False)
        yield Tensor(f"{prefix}post_attention_layernorm.weight", (self.hidden,), False)

    def _attention(self) -> list[Any]:
        build, hidden = self.build, self.hidden
        queries, keys = self.heads * self.head_dim, self.kv_heads * self.head_dim
        found: list[Any] = [
            ("self_attn.q_proj.weight", queries * (2 if build.gated_heads else 1), hidden),
            ("self_attn.k_proj.weight", keys, hidden),
            ("self_attn.v_proj.weight", keys, hidden),
            ("self_attn.o_proj.weight", hidden, queries),
        ]
        if build.normed_heads:
            found += [(f"self_attn.{name}_norm.weight", self.head_dim) for name in "qk"]
        if build.biased:
            found += [(f"self_attn.{name}_proj.bias", keys) for name in "kv"]
            found += [("self_attn.q_proj.bias", queries)]
        return found

    def _linear_attention(self) -> list[Any]:
        keys, values = self.linear_widths
        heads = self.linear_value_heads
        return [
            ("linear_attn.dt_bias", heads),
            ("linear_attn.A_log", heads),
            ("linear_attn.conv1d.weight", 2 * keys + values, 1, _CONVOLVED),
            ("linear_attn.in_proj_qkvz.weight", 2 * keys + 2 * values, self.hidden),
            ("linear_attn.in_proj_ba.weight", 2 * heads, self.hidden),
            ("linear_attn.norm.weight", self.linear_value_dim),
            ("linear_attn.out_proj.weight", self.hidden, values),
        ]

    def _mixture(self) -> list[Any]:
        found = [
            ("mlp.gate.weight", self.experts, self.hidden),
            ("mlp.experts.gate_up_proj", self.experts, 2 * self.expert, self.hidden),
            ("mlp.experts.down_proj", self.experts, self.hidden, self.expert),
        ]
        if self.shared_expert:
            found += _mlp("mlp.shared_expert", self.hidden, self.shared_expert)
            found += [("mlp.shared_expert_gate.weight", 1, self.hidden)]
        return found


@lru_cache(maxsize=16)
def _tensors(shape: Shape) -> tuple[Tensor, ...]:
    return tuple(shape._each())


_NOT_LINEAR = (".gate.weight", ".shared_expert_gate.weight")
"""Routers: linear maps that nothing may lie beside."""


def is_router(name: str) -> bool:
    """Return whether a weight of a shape decides which expert computes a token."""
    return name.endswith(_NOT_LINEAR)


def _mlp(name: str, hidden: int, width: int) -> list[Any]:
    return [
        (f"{name}.gate_proj.weight", width, hidden),
        (f"{name}.up_proj.weight", width, hidden),
        (f"{name}.down_proj.weight", hidden, width),
    ]


OF_BLANK = {
    "hidden": "hidden_size",
    "layers": "layers",
    "heads": "heads",
    "kv_heads": "kv_heads",
    "head_dim": "head_dim",
    "mlp": "intermediate_size",
    "tied": "tie_embeddings",
    "context_tokens": "context_tokens",
    "experts": "experts",
    "experts_per_token": "experts_per_token",
    "expert": "expert_size",
    "full_attention_every": "full_attention_every",
    "linear_key_heads": "linear_key_heads",
    "linear_value_heads": "linear_value_heads",
    "linear_key_dim": "linear_head_dim",
    "linear_value_dim": "linear_head_dim",
}
"""What a recipe's `model.shape` calls the fields of a shape."""
_OF_CONFIG = {
    "vocabulary": "vocab_size",
    "hidden": "hidden_size",
    "layers": "num_hidden_layers",
    "heads": "num_attention_heads",
    "kv_heads": "num_key_value_heads",
    "head_dim": "head_dim",
    "mlp": "intermediate_size",
    "context_tokens": "max_position_embeddings",
    "experts": "num_experts",
    "experts_per_token": "num_experts_per_tok",
    "expert": "moe_intermediate_size",
    "shared_expert": "shared_expert_intermediate_size",
    "full_attention_every": "full_attention_interval",
    "linear_key_heads": "linear_num_key_heads",
    "linear_value_heads": "linear_num_value_heads",
    "linear_key_dim": "linear_key_head_dim",
    "linear_value_dim": "linear_value_head_dim",
}


def of_blank(blank: Config, vocabulary: int) -> Shape:
    """Return the shape that a blank's settings describe. Raises ConfigError for a foreign one."""
    settings = blank.model_dump()
    kind = str(settings.get("kind"))
    found = {field: settings[name] for field, name in OF_BLANK.items() if name in settings}
    missing = {"hidden", "layers", "heads", "kv_heads", "head_dim"} - found.keys()
    if missing:
        raise ConfigError(
            f"blank {kind}: its settings do not say {', '.join(sorted(missing))}",
            hint="estimate from the folder of a model instead",
        )
    if "linear_key_heads" in found:  # a build with linear attention has a shared expert of the same width
        found["shared_expert"] = found["expert"]
    vision = 0
    if "vision_hidden_size" in settings:
        width = settings["vision_hidden_size"]
        vision = _vision(settings["vision_layers"], width, 2 * width, 64, 1, settings["hidden_size"])
    return Shape(model_type=kind, vocabulary=vocabulary, vision_parameters=vision, **found)


def of_config(config: Mapping[str, Any], where: str) -> Shape:
    """Return the shape of a `config.json`. Raises ConfigError where it does not say enough."""
    text = {**config, **config["text_config"]} if "text_config" in config else config
    found = {field: text[name] for field, name in _OF_CONFIG.items() if text.get(name) is not None}
    if "num_local_experts" in text:
        found["experts"] = text["num_local_experts"]
    found.setdefault("kv_heads", found.get("heads"))
    if "head_dim" not in found and {"hidden", "heads"} <= found.keys():
        found["head_dim"] = found["hidden"] // found["heads"]
    if "layer_types" in text and "full_attention" in text["layer_types"]:
        found["full_attention_every"] = text["layer_types"].index("full_attention") + 1
    missing = {"vocabulary", "hidden", "layers", "heads", "head_dim", "context_tokens"} - found.keys()
    if missing:
        raise ConfigError(
            f"{where}: it does not say {', '.join(sorted(_OF_CONFIG[name] for name in missing))}",
            hint="is it the config.json of a language model?",
        )
    if found.get("experts"):
        found["mlp"] = 0
    else:
        found = {name: value for name, value in found.items() if "expert" not in name}
    vision = config.get("vision_config") or {}
    if vision:
        found["vision_parameters"] = _vision(
            vision["depth"],
            vision["hidden_size"],
            vision["intermediate_size"],
            vision["num_position_embeddings"],
            len(vision["deepstack_visual_indexes"]),
            vision["out_hidden_size"],
        )
    tied = bool(config.get("tie_word_embeddings", text.get("tie_word_embeddings", False)))
    return Shape(model_type=str(config.get("model_type", "")), tied=tied, **found)


def _vision(layers: int, width: int, mlp: int, positions: int, stages: int, out: int) -> int:
    """Return the weights of Qwen3-VL's vision tower, whose mergers join four patches."""
    joined = 4 * width
    block = 4 * width + 4 * width * width + 4 * width + 2 * width * mlp + mlp + width
    merger = joined * joined + joined + joined * out + out
    ends = _PATCH * width + width + positions * width
    return ends + layers * block + (stages + 1) * merger + 2 * width + stages * 2 * joined
