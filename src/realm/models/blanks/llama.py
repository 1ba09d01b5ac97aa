"""A blank dense Llama: rotary positions, grouped-query attention, SwiGLU, no biases."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import Field, model_validator

from realm.core.config import Config as BaseConfig
from realm.core.seeds import seed as seed_of
from realm.models.blank import SpecialIds

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_Size = Annotated[int, Field(ge=1)]


class Llama:
    """Draw a Llama causal language model from a seed."""

    class Config(BaseConfig):
        """Shape of the model. The defaults give 1.2 M parameters at a vocabulary of 400."""

        kind: Literal["llama"] = "llama"
        hidden_size: _Size = 160
        layers: _Size = 3
        heads: _Size = 4
        """Query heads; a multiple of `kv_heads`."""
        kv_heads: _Size = 4
        head_dim: Annotated[int, Field(ge=2, multiple_of=2)] = 40
        intermediate_size: _Size = 576
        """Width of each MLP."""
        context_tokens: _Size = 1024
        """The longest sequence that may be trained or generated."""
        rope_theta: Annotated[float, Field(gt=0)] = 10_000.0
        tie_embeddings: bool = False
        """Use one matrix for input and output embeddings."""
        initializer_range: Annotated[float, Field(gt=0)] = 0.02
        """Standard deviation of drawn weights."""

        @model_validator(mode="after")
        def _heads_share_evenly(self) -> Self:
            if self.heads % self.kv_heads:
                raise ValueError("heads must be a multiple of kv_heads")
            return self

    def __init__(self, config: Config) -> None:
        self.config = config

    def build(self, vocab_size: int, special: SpecialIds, seed: int) -> PreTrainedModel:
        """Build the model in fp32; equal seeds give equal bytes, global random state is kept."""
        import torch
        from transformers import LlamaConfig
        from transformers.models.llama.modeling_llama import LlamaForCausalLM

        shape = self.config
        config = LlamaConfig(
            vocab_size=vocab_size,
            hidden_size=shape.hidden_size,
            intermediate_size=shape.intermediate_size,
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
            torch.manual_seed(seed_of("blank/llama", seed))
            model: PreTrainedModel = LlamaForCausalLM(config)
        return model.float()
