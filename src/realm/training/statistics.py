"""Figures of the steps between two checkpoints."""

from __future__ import annotations

from realm.core.events import StepTaken


class Statistics:
    """Sums over steps. `summary` is what a checkpoint is recorded with."""

    def __init__(self) -> None:
        self.steps = 0
        self._loss = 0.0
        self._norm = 0.0
        self._tokens = 0
        self._trained = 0
        self._seconds = 0.0
        self._rate = 0.0

    def add(self, taken: StepTaken) -> None:
        """Count one step."""
        self.steps += 1
        self._loss += taken.loss
        self._norm += taken.gradient_norm
        self._tokens += taken.tokens
        self._trained += taken.trained_tokens
        self._seconds += taken.seconds
        self._rate = taken.learning_rate

    def summary(self) -> dict[str, float]:
        """Return means (loss, gradient_norm), sums (tokens, seconds) and the last learning rate."""
        return {
            "loss": self._loss / self.steps,
            "gradient_norm": self._norm / self.steps,
            "tokens": float(self._tokens),
            "trained_tokens": float(self._trained),
            "seconds": self._seconds,
            "learning_rate": self._rate,
        }
