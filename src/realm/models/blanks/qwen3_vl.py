"""A blank Qwen3-VL: a dense Qwen3 that also reads image patches from a vision tower.

Text rows train its text part alone. No token stands for an image yet: such a tokenizer would have
to be made for it, so the four ids of image and video marks lie behind the vocabulary.
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


class Qwen3Vl:
    """Draw a Qwen3 vision-language model from a seed."""

    class Config(BaseConfig):
        """Shape of the model. The defaults give 1.2 M parameters at a vocabulary of 400."""

        kind: Literal["qwen3_vl"] = "qwen3_vl"
        hidden_size: _Size = 128
        layers: _Size = 3
        heads: _Size = 4
        """Query heads; a multiple of `kv_heads`."""
        kv_heads: _Size = 2
        head_dim: Annotated[int, Field(ge=8, multiple_of=2)] = 32
        intermediate_size: _Size = 384
        """Width of each MLP of the text part."""
        vision_hidden_size: Annotated[int, Field(ge=16, multiple_of=16)] = 64
        vision_layers: _Size = 2
        vision_heads: _Size = 4
        """Attention heads of the vision tower; `vision_hidden_size` is a multiple of 4 times them."""
        context_tokens: _Size = 1024
        """The longest sequence that may be trained or generated."""
        rope_theta: Annotated[float, Field(gt=0)] = 10_000.0
        tie_embeddings: bool = True
        """Use one matrix for input and output embeddings."""
        initializer_range: Annotated[float, Field(gt=0)] = 0.02
        """Standard deviation of drawn weights."""

        @model_validator(mode="after")
        def _heads_share_evenly(self) -> Self:
            if self.heads % self.kv_heads:
                raise ValueError("heads must be a multiple of kv_heads")
            if self.vision_hidden_size % (4 * self.vision_heads):
                raise ValueError("vision_hidden_size must be a multiple of 4 times vision_heads")
            return self

    def __init__(self, config: Config) -> None:
        self.config = config

    def build(self, vocab_size: int, special: SpecialIds, seed: int) -> PreTrainedModel:
        """Build the model in fp32; equal seeds give equal bytes, global random state is kept."""
        import torch
        from transformers import Qwen3VLConfig
        from transformers.models.qwen3_vl.modeling_qwen3_vl import Qwen3VLForConditionalGeneration

        shape = self.config
        image, video, start, end = range(vocab_size, vocab_size + 4)
        config = Qwen3VLConfig(
            text_config=self._text(vocab_size, special),
            vision_config={
                "depth": shape.vision_layers,
                "hidden_size": shape.vision_hidden_size,
                "intermediate_size": 2 * shape.vision_hidden_size,
                "num_heads": shape.vision_heads,
                "out_hidden_size": shape.hidden_size,
                "num_position_embeddings": 64,
                "deepstack_visual_indexes": [0],
                "initializer_range": shape.initializer_range,
            },
            image_token_id=image,
            video_token_id=video,
            vision_start_token_id=start,
            vision_end_token_id=end,
            tie_word_embeddings=shape.tie_embeddings,
            dtype="float32",
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed_of("blank/qwen3_vl", seed))
            model: PreTrainedModel = Qwen3VLForConditionalGeneration(config)
        return model.float()

    def _text(self, vocab_size: int, special: SpecialIds) -> dict[str, object]:
        shape = self.config
        pairs = shape.head_dim // 2
        side = pairs * 20 // 64  # Qwen3-VL's own shares of time, height and width: 24, 20, 20 of 64
        return {
            "vocab_size": vocab_size,
            "hidden_size": shape.hidden_size,
            "intermediate_size": shape.intermediate_size,
            "num_hidden_layers": shape.layers,
            "num_attention_heads": shape.heads,
            "num_key_value_heads": shape.kv_heads,
            "head_dim": shape.head_dim,
            "max_position_embeddings": shape.context_tokens,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": shape.rope_theta,
                "mrope_interleaved": True,
                "mrope_section": [pairs - 2 * side, side, side],
            },
            "initializer_range": shape.initializer_range,
            "bos_token_id": None,
            "eos_token_id": special.end,
            "pad_token_id": special.pad,
            "dtype": "float32",
        }
