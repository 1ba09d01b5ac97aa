"""Several updates of one step, told as one step."""

from __future__ import annotations

from collections.abc import Sequence

from realm.core.events import StepTaken
from realm.training.method import Method


def updates_of(method: Method) -> int:
    """Return how many updates a method takes on each batch; a setting of those that can take several."""
    found: int = getattr(method.config, "updates_per_batch", 1)
    return found


def in_all(updates: Sequence[StepTaken], seconds: float) -> StepTaken:
    """Return the step that updates of one batch make: means of what they measured, sums of tokens."""
    count, last = len(updates), updates[-1]
    return last.model_copy(
        update={
            "loss": sum(update.loss for update in updates) / count,
            "gradient_norm": sum(update.gradient_norm for update in updates) / count,
            "tokens": sum(update.tokens for update in updates),
            "trained_tokens": sum(update.trained_tokens for update in updates),
            "seconds": seconds,
            "figures": {
                name: sum(update.figures[name] for update in updates) / count for name in last.figures
            },
        }
    )
