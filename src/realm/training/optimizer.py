"""The contract of the `optimizer` family: how gradients move the trained parameters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Protocol

from pydantic import Field

from realm.core.config import Config
from realm.core.kinds import Family

if TYPE_CHECKING:
    import torch
    from peft import PeftModel
    from transformers import PreTrainedModel

Rate = Annotated[float, Field(gt=0, le=1000)]
"""A full learning rate. One beyond 1000 can only diverge."""
_Share = Annotated[float, Field(ge=0, lt=1)]


class AdamSettings(Config):
    """What all forms of AdamW are told. The defaults are those of `spark`'s drills."""

    learning_rate: Rate = 2e-3
    """The full rate, which the schedule's factor multiplies."""
    betas: tuple[_Share, _Share] = (0.9, 0.98)
    """Shares of the two moments, of gradients and of their squares, that are kept each step."""
    weight_decay: Annotated[float, Field(ge=0, le=1000)] = 0.1
    """Times the rate, a step's shrinking of matrices, embeddings included; never of norms and biases."""
    eps: Annotated[float, Field(gt=0, le=1000)] = 1e-8
    """Added to the root of the second moment, so that nothing is divided by 0."""
    carry: bool = True
    """Go on with the moments of the checkpoint a run starts from, where it has some."""


class Optimizer(Protocol):
    """A rule that turns gradients into steps, and its settings."""

    @property
    def learning_rate(self) -> float:
        """The full rate of the first group, which the schedule's factor multiplies."""
        ...

    @property
    def carry(self) -> bool:
        """Whether to go on with the moments of the checkpoint a run starts from, where it has some."""
        ...

    def build(self, model: PreTrainedModel | PeftModel) -> torch.optim.Optimizer:
        """Build one optimizer over all parameters that require gradients.

        Every group holds its full rate as `base_lr`; a step sets `lr` to `base_lr` times the
        schedule's factor. Raises ConfigError, MissingExtraError or RefusedError where it cannot run.
        """
        ...


OPTIMIZERS: Family[Optimizer] = Family("optimizer", "realm.training.optimizers")
