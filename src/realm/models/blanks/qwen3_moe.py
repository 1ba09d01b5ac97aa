"""A blank Qwen3-MoE: Qwen3's attention, and in every layer a router over small SwiGLU experts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import Field, model_validator

from realm.core.config import Config as BaseConfig
from realm.core.seeds import seed as seed_of
from realm.models.blank import SpecialIds

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_Size = Annotated[int, Field(ge=1)]


class Qwen3Moe:
    """Draw a Qwen3 mixture-of-experts causal language model from a seed."""

    class Config(BaseConfig):
        """Shape of the model. The defaults give 1.5 M parameters at a vocabulary of 400."""

        kind: Literal["qwen3_moe"] = "qwen3_moe"
        hidden_size: _Size = 128
        layers: _Size = 3
        heads: _Size = 4
        """Query heads; a multiple of `kv_heads`."""
        kv_heads: _Size = 2
        head_dim: Annotated[int, Field(ge=2, multiple_of=2)] = 32
        experts: _Size = 8
        """Experts in each layer."""
        experts_per_token: _Size = 2
        """Experts that compute a token; at most `experts`."""
        expert_size: _Size = 128
        """Width of each expert."""
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
            if self.experts_per_token > self.experts:
                raise ValueError("experts_per_token must not exceed experts")
            return self

    def __init__(self, config: Config) -> None:
        self.config = config

    def build(self, vocab_size: int, special: SpecialIds, seed: int) -> PreTrainedModel:
        """Build the model in fp32; equal seeds give equal bytes, global random state is kept."""
        import torch
        from transformers import Qwen3MoeConfig
        from transformers.models.qwen3_moe.modeling_qwen3_moe import Qwen3MoeForCausalLM

        shape = self.config
        config = Qwen3MoeConfig(
            vocab_size=vocab_size,
            hidden_size=shape.hidden_size,
            intermediate_size=shape.expert_size,
            moe_intermediate_size=shape.expert_size,
            num_experts=shape.experts,
            num_experts_per_tok=shape.experts_per_token,
            norm_topk_prob=True,
            num_hidden_layers=shape.layers,
            num_attention_heads=shape.heads,
            num_key_value_heads=shape.kv_heads,
            head_dim=shape.head_dim,
            max_position_embeddings=shape.context_tokens,
            rope_parameters={"rope_type": "default", "rope_theta": shape.rope_theta},
            tie_word_embeddings=shape.tie_embeddings,
            initializer_range=shape.initializer_range,
            bos_token_id=None,
            eos_token_id=special.end,
            pad_token_id=special.pad,
            dtype="float32",
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed_of("blank/qwen3_moe", seed))
            model: PreTrainedModel = Qwen3MoeForCausalLM(config)
        return model.float()
