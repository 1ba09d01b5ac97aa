"""A blank Qwen3-Next: gated delta nets (linear attention) with full attention in between, and experts.

Every `full_attention_every`-th layer attends in full. A shared expert computes each token beside
the routed ones. Linear attention mixes tokens along the sequence, so rows may not share a pack.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import Field, model_validator

from realm.models.blank import BlankShape, Size, SpecialIds

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class Qwen3Next:
    """Draw a Qwen3-Next causal language model from a seed."""

    class Config(BlankShape):
        """Shape of the model. The defaults give 2.2 M parameters at a vocabulary of 400."""

        kind: Literal["qwen3_next"] = "qwen3_next"
        layers: Size = 4
        """Decoder layers."""
        full_attention_every: Size = 4
        """Of so many layers the last attends in full, the others linearly."""
        heads: Size = 4
        """Query heads of full attention; a multiple of `kv_heads`."""
        head_dim: Annotated[int, Field(ge=8, multiple_of=8)] = 32
        """Width of each head of full attention."""
        linear_key_heads: Size = 2
        """Key heads of linear attention."""
        linear_value_heads: Size = 4
        """Heads of linear attention; a multiple of `linear_key_heads`."""
        linear_head_dim: Size = 32
        """Width of each head of linear attention."""
        experts: Size = 8
        """Routed experts in each layer."""
        experts_per_token: Size = 2
        """Routed experts that compute a token; at most `experts`."""
        expert_size: Size = 128
        """Width of each expert, the shared one included."""

        @model_validator(mode="after")
        def _shape_fits(self) -> Self:
            if self.linear_value_heads % self.linear_key_heads:
                raise ValueError("linear_value_heads must be a multiple of linear_key_heads")
            if self.experts_per_token > self.experts:
                raise ValueError("experts_per_token must not exceed experts")
            return self

    def __init__(self, config: Config) -> None:
        self.config = config

    def build(self, vocab_size: int, special: SpecialIds, seed: int) -> PreTrainedModel:
        """Build the model in fp32; equal seeds give equal bytes, global random state is kept."""
        from transformers import Qwen3NextConfig
        from transformers.models.qwen3_next.modeling_qwen3_next import Qwen3NextForCausalLM

        shape = self.config
        config = Qwen3NextConfig(
            **shape.settings(vocab_size, special, partial_rotary_factor=0.25),
            intermediate_size=shape.expert_size,
            moe_intermediate_size=shape.expert_size,
            shared_expert_intermediate_size=shape.expert_size,
            num_experts=shape.experts,
            num_experts_per_tok=shape.experts_per_token,
            layer_types=[self._layer_type(layer) for layer in range(shape.layers)],
            linear_num_key_heads=shape.linear_key_heads,
            linear_num_value_heads=shape.linear_value_heads,
            linear_key_head_dim=shape.linear_head_dim,
            linear_value_head_dim=shape.linear_head_dim,
            tie_word_embeddings=shape.tie_embeddings,
        )
        return shape.draw(seed, lambda: Qwen3NextForCausalLM(config))

    def _layer_type(self, layer: int) -> str:
        last = (layer + 1) % self.config.full_attention_every == 0
        return "full_attention" if last else "linear_attention"
