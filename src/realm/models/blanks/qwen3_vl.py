"""A blank Qwen3-VL: a dense Qwen3 that also reads image patches from a vision tower.

Text rows train its text part alone. No token stands for an image yet: such a tokenizer would have
to be made for it, so the four ids of image and video marks lie behind the vocabulary.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from realm.models.blank import BlankShape, Size, SpecialIds

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class Qwen3Vl:
    """Draw a Qwen3 vision-language model from a seed."""

    class Config(BlankShape):
        """Shape of the model. The defaults give 1.2 M parameters at a vocabulary of 400."""

        kind: Literal["qwen3_vl"] = "qwen3_vl"
        head_dim: Annotated[int, Field(ge=8, multiple_of=2)] = 32
        """Width of each head."""
        intermediate_size: Size = 384
        """Width of each MLP of the text part."""
        vision_hidden_size: Annotated[int, Field(ge=16, multiple_of=16)] = 64
        """Width of the vision tower."""
        vision_layers: Size = 2
        """Layers of the vision tower."""
        vision_heads: Size = 4
        """Attention heads of the vision tower; `vision_hidden_size` is a multiple of 4 times them."""

        @model_validator(mode="after")
        def _vision_heads_share_evenly(self) -> Self:
            if self.vision_hidden_size % (4 * self.vision_heads):
                raise ValueError("vision_hidden_size must be a multiple of 4 times vision_heads")
            return self

    def __init__(self, config: Config) -> None:
        self.config = config

    def build(self, vocab_size: int, special: SpecialIds, seed: int) -> PreTrainedModel:
        """Build the model in fp32; equal seeds give equal bytes, global random state is kept."""
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
        return shape.draw(seed, lambda: Qwen3VLForConditionalGeneration(config))

    def _text(self, vocab_size: int, special: SpecialIds) -> dict[str, Any]:
        shape = self.config
        pairs = shape.head_dim // 2
        side = pairs * 20 // 64  # Qwen3-VL's own shares of time, height and width: 24, 20, 20 of 64
        sections = [pairs - 2 * side, side, side]
        settings = shape.settings(vocab_size, special, mrope_interleaved=True, mrope_section=sections)
        return {**settings, "intermediate_size": shape.intermediate_size}
