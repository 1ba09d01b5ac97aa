"""A blank dense Qwen3: rotary positions, grouped-query attention with normed heads, SwiGLU."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from realm.models.blank import BlankShape, Size, SpecialIds

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class Qwen3:
    """Draw a Qwen3 causal language model from a seed."""

    class Config(BlankShape):
        """Shape of the model. The defaults give 1.2 M parameters at a vocabulary of 400."""

        kind: Literal["qwen3"] = "qwen3"
        hidden_size: Size = 160
        """Width of the stream that runs through all layers."""
        kv_heads: Size = 4
        """Key and value heads; fewer than `heads` share them and take less memory."""
        head_dim: Annotated[int, Field(ge=2, multiple_of=2)] = 40
        """Width of each head."""
        intermediate_size: Size = 576
        """Width of each MLP."""

    def __init__(self, config: Config) -> None:
        self.config = config

    def build(self, vocab_size: int, special: SpecialIds, seed: int) -> PreTrainedModel:
        """Build the model in fp32; equal seeds give equal bytes, global random state is kept."""
        from transformers import Qwen3Config
        from transformers.models.qwen3.modeling_qwen3 import Qwen3ForCausalLM

        shape = self.config
        config = Qwen3Config(
            **shape.settings(vocab_size, special),
            intermediate_size=shape.intermediate_size,
            tie_word_embeddings=shape.tie_embeddings,
        )
        return shape.draw(seed, lambda: Qwen3ForCausalLM(config))
