"""What a contender is told: the same for our engine and for its peers, as one JSON file."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from realm.bench.turns import Where
from realm.core.config import Config
from realm.training.recipe import Recipe


class Lora(Config):
    """An adapter, in the words of PEFT."""

    r: int
    lora_alpha: int
    lora_dropout: float
    target_modules: tuple[str, ...]


class Spec(Config):
    """One contender's work."""

    model: str
    """Folder of the model to begin from, tokenizer included."""
    examples: str
    """File of core `Example` records, one JSON line each, for those who encode themselves."""
    rows: str
    """File of the same rows as our encoder sees them: `input_ids`, and `labels` of -100 where masked."""
    steps: int
    """Optimizer steps in a segment; they see every row once."""
    batch_rows: int
    """Rows in a step."""
    recipe: Recipe
    """By which our side trains; what it shares with its peers follows in their words."""
    device: Where
    lora: Lora | None
    """None trains all parameters."""
    learning_rate: float
    betas: tuple[float, float]
    eps: float
    weight_decay: float
    clip_norm: float
    threads: int
    scratch: str
    """Folder for whatever it may write."""
    settings: dict[str, Any] = Field(default_factory=dict)
    """A peer's own."""
    trained_positions_only: bool = False
