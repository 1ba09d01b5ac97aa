"""A blank Qwen3-Next: gated delta nets (linear attention) with full attention in between, and experts.

Every `full_attention_every`-th layer attends in full. A shared expert computes each token beside
the routed ones. Linear attention mixes tokens along the sequence, so rows may not share a pack.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import Field, model_validator

from realm.core.config import Config as BaseConfig
from realm.core.seeds import seed as seed_of
from realm.models.blank import SpecialIds

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_Size = Annotated[int, Field(ge=1)]


class Qwen3Next:
    """Draw a Qwen3-Next causal language model from a seed."""

    class Config(BaseConfig):
        """Shape of the model. The defaults give 2.2 M parameters at a vocabulary of 400."""

        kind: Literal["qwen3_next"] = "qwen3_next"
        hidden_size: _Size = 128
        layers: _Size = 4
        full_attention_every: _Size = 4
        """Of so many layers the last attends in full, the others linearly."""
        heads: _Size = 4
        """Query heads of full attention; a multiple of `kv_heads`."""
        kv_heads: _Size = 2
        head_dim: Annotated[int, Field(ge=8, multiple_of=8)] = 32
        linear_key_heads: _Size = 2
        linear_value_heads: _Size = 4
        """Heads of linear attention; a multiple of `linear_key_heads`."""
        linear_head_dim: _Size = 32
        experts: _Size = 8
        """Routed experts in each layer."""
        experts_per_token: _Size = 2
        """Routed experts that compute a token; at most `experts`."""
        expert_size: _Size = 128
        """Width of each expert, the shared one included."""
        context_tokens: _Size = 1024
        """The longest sequence that may be trained or generated."""
        rope_theta: Annotated[float, Field(gt=0)] = 10_000.0
        tie_embeddings: bool = True
        """Use one matrix for input and output embeddings."""
        initializer_range: Annotated[float, Field(gt=0)] = 0.02
        """Standard deviation of drawn weights."""

        @model_validator(mode="after")
        def _shape_fits(self) -> Self:
            if self.heads % self.kv_heads:
                raise ValueError("heads must be a multiple of kv_heads")
            if self.linear_value_heads % self.linear_key_heads:
                raise ValueError("linear_value_heads must be a multiple of linear_key_heads")
            if self.experts_per_token > self.experts:
                raise ValueError("experts_per_token must not exceed experts")
            return self

    def __init__(self, config: Config) -> None:
        self.config = config

    def build(self, vocab_size: int, special: SpecialIds, seed: int) -> PreTrainedModel:
        """Build the model in fp32; equal seeds give equal bytes, global random state is kept."""
        import torch
        from transformers import Qwen3NextConfig
        from transformers.models.qwen3_next.modeling_qwen3_next import Qwen3NextForCausalLM

        shape = self.config
        config = Qwen3NextConfig(
            vocab_size=vocab_size,
            hidden_size=shape.hidden_size,
            intermediate_size=shape.expert_size,
            moe_intermediate_size=shape.expert_size,
            shared_expert_intermediate_size=shape.expert_size,
            num_experts=shape.experts,
            num_experts_per_tok=shape.experts_per_token,
            num_hidden_layers=shape.layers,
            layer_types=[self._layer_type(layer) for layer in range(shape.layers)],
            num_attention_heads=shape.heads,
            num_key_value_heads=shape.kv_heads,
            head_dim=shape.head_dim,
            linear_num_key_heads=shape.linear_key_heads,
            linear_num_value_heads=shape.linear_value_heads,
            linear_key_head_dim=shape.linear_head_dim,
            linear_value_head_dim=shape.linear_head_dim,
            max_position_embeddings=shape.context_tokens,
            rope_parameters={
                "rope_type": "default",
                "rope_theta": shape.rope_theta,
                "partial_rotary_factor": 0.25,
            },
            tie_word_embeddings=shape.tie_embeddings,
            initializer_range=shape.initializer_range,
            bos_token_id=None,
            eos_token_id=special.end,
            pad_token_id=special.pad,
            dtype="float32",
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed_of("blank/qwen3_next", seed))
            model: PreTrainedModel = Qwen3NextForCausalLM(config)
        return model.float()

    def _layer_type(self, layer: int) -> str:
        last = (layer + 1) % self.config.full_attention_every == 0
        return "full_attention" if last else "linear_attention"
