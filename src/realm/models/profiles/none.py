"""Rows and logits as they are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from realm.core.config import Config as BaseConfig

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

    from realm.core.records import Example
    from realm.models.profile import LogitsProcessor


class Plain:
    """Change nothing."""

    class Config(BaseConfig):
        """Has no settings."""

        kind: Literal["none"] = "none"

    def __init__(self, config: Config) -> None:
        self.config = config

    def transform(self, example: Example, index: int, seed: int) -> Example:
        """Return the row."""
        return example

    def logits_processors(self, tokenizer: PreTrainedTokenizerFast) -> list[LogitsProcessor]:
        """Return none."""
        return []

    def describe(self) -> str:
        """Say in a line what the profile does."""
        return "answers as the data has them"
