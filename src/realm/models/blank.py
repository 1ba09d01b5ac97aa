"""The contract of the `blank` family: model shapes that can be born with random weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, Protocol, Self

from pydantic import Field, model_validator

from realm.core.config import Config
from realm.core.kinds import Family
from realm.core.records import Record
from realm.core.seeds import seed as seed_of

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Size = Annotated[int, Field(ge=1)]


class SpecialIds(Record):
    """Token ids that a model's config has to know."""

    end: int
    """Ends a turn and a text; generation stops there."""
    pad: int


class BlankShape(Config):
    """What the shapes of all kinds say: a decoder with rotary positions and grouped-query attention."""

    kind: str
    hidden_size: Size = 128
    """Width of the stream that runs through all layers."""
    layers: Size = 3
    """Decoder layers."""
    heads: Size = 4
    """Query heads; a multiple of `kv_heads`."""
    kv_heads: Size = 2
    """Key and value heads; fewer than `heads` share them and take less memory."""
    head_dim: Annotated[int, Field(ge=2, multiple_of=2)] = 32
    """Width of each head."""
    context_tokens: Size = 1024
    """The longest sequence that may be trained or generated."""
    rope_theta: Annotated[float, Field(gt=0)] = 10_000.0
    """Base of the rotary positions' wavelengths; long contexts take larger ones."""
    tie_embeddings: bool = True
    """Use one matrix for input and output embeddings."""
    initializer_range: Annotated[float, Field(gt=0)] = 0.02
    """Standard deviation of drawn weights."""

    @model_validator(mode="after")
    def _heads_share_evenly(self) -> Self:
        if self.heads % self.kv_heads:
            raise ValueError("heads must be a multiple of kv_heads")
        return self

    def settings(self, vocab_size: int, special: SpecialIds, **rope: object) -> dict[str, Any]:
        """Return it as transformers names it, but for tied embeddings; `rope` adds to the positions."""
        return {
            "vocab_size": vocab_size,
            "hidden_size": self.hidden_size,
            "num_hidden_layers": self.layers,
            "num_attention_heads": self.heads,
            "num_key_value_heads": self.kv_heads,
            "head_dim": self.head_dim,
            "max_position_embeddings": self.context_tokens,
            "rope_parameters": {"rope_type": "default", "rope_theta": self.rope_theta, **rope},
            "initializer_range": self.initializer_range,
            "bos_token_id": None,
            "eos_token_id": special.end,
            "pad_token_id": special.pad,
            "dtype": "float32",
        }

    def draw(self, seed: int, build: Callable[[], PreTrainedModel]) -> PreTrainedModel:
        """Build a model in fp32 with weights of this seed; global random state is kept."""
        import torch

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed_of(f"blank/{self.kind}", seed))
            model: PreTrainedModel = build()
        return model.float()


class Blank(Protocol):
    """A model shape without weights."""

    def build(self, vocab_size: int, special: SpecialIds, seed: int) -> PreTrainedModel:
        """Build the model in fp32; equal seeds give equal bytes, global random state is kept."""
        ...


BLANKS: Family[Blank] = Family("blank", "realm.models.blanks")
"""Kinds of the `blank` family."""
