"""The contract of the `profile` family: a manner of answering, in the data and where answers are written.

A profile changes rows before they are encoded, and the logits of the model that was trained on them: what it
teaches in the data it holds the model to when it answers.

Shapes: B prompts of a batch, T tokens so far (prompts included, padded on the left), V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, Protocol

from pydantic import Field, SerializeAsAny

from realm.core.config import Config
from realm.core.kinds import Family

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerFast

    from realm.core.records import Example

    LogitsProcessor = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
    """Takes the tokens so far (B, T) and logits of the next ones (B, V); returns logits (B, V)."""


Marker = Annotated[str, Field(min_length=1, max_length=32)]
"""A text that stands for something in an answer."""
Penalty = Annotated[float, Field(gt=0, le=1e6, allow_inf_nan=False)]
"""How far a logit is lowered, nats."""


class Profile(Protocol):
    """One manner of answering."""

    config: Any

    def transform(self, example: Example, index: int, seed: int) -> Example:
        """Return the row as it is trained; equal arguments give equal rows. Texts stay as they are."""
        ...

    def logits_processors(self, tokenizer: PreTrainedTokenizerFast) -> list[LogitsProcessor]:
        """Return what holds a model to the manner while it answers, applied in this order."""
        ...

    def describe(self) -> str:
        """Say in a line what the profile does."""
        ...


PROFILES: Family[Profile] = Family("profile", "realm.models.profiles")
"""Kinds of the `profile` family."""
ProfileConfig = Annotated[SerializeAsAny[Config], PROFILES.part()]
