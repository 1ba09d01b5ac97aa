"""A blank Qwen3-MoE: Qwen3's attention, and in every layer a router over small SwiGLU experts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Self

from pydantic import model_validator

from realm.models.blank import BlankShape, Size, SpecialIds

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class Qwen3Moe:
    """Draw a Qwen3 mixture-of-experts causal language model from a seed."""

    class Config(BlankShape):
        """Shape of the model. The defaults give 1.5 M parameters at a vocabulary of 400."""

        kind: Literal["qwen3_moe"] = "qwen3_moe"
        experts: Size = 8
        """Experts in each layer."""
        experts_per_token: Size = 2
        """Experts that compute a token; at most `experts`."""
        expert_size: Size = 128
        """Width of each expert."""

        @model_validator(mode="after")
        def _enough_experts(self) -> Self:
            if self.experts_per_token > self.experts:
                raise ValueError("experts_per_token must not exceed experts")
            return self

    def __init__(self, config: Config) -> None:
        self.config = config

    def build(self, vocab_size: int, special: SpecialIds, seed: int) -> PreTrainedModel:
        """Build the model in fp32; equal seeds give equal bytes, global random state is kept."""
        from transformers import Qwen3MoeConfig
        from transformers.models.qwen3_moe.modeling_qwen3_moe import Qwen3MoeForCausalLM

        shape = self.config
        config = Qwen3MoeConfig(
            **shape.settings(vocab_size, special),
            intermediate_size=shape.expert_size,
            moe_intermediate_size=shape.expert_size,
            num_experts=shape.experts,
            num_experts_per_tok=shape.experts_per_token,
            norm_topk_prob=True,
            tie_word_embeddings=shape.tie_embeddings,
        )
        return shape.draw(seed, lambda: Qwen3MoeForCausalLM(config))
