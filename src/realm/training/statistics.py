"""Figures of the steps between two checkpoints."""

from __future__ import annotations

from collections import defaultdict

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
        self._figures: dict[str, float] = defaultdict(float)

    def add(self, taken: StepTaken) -> None:
        """Count one step."""
        self.steps += 1
        self._loss += taken.loss
        self._norm += taken.gradient_norm
        self._tokens += taken.tokens
        self._trained += taken.trained_tokens
        self._seconds += taken.seconds
        self._rate = taken.learning_rate
        for name, value in taken.figures.items():
            self._figures[name] += value

    def summary(self) -> dict[str, float]:
        """Return means (loss, gradient_norm, figures), sums (tokens, seconds) and the last learning rate.

        A method's own figures are means over the steps, and never hide one of the others.
        """
        return {name: total / self.steps for name, total in self._figures.items()} | {
            "loss": self._loss / self.steps,
            "gradient_norm": self._norm / self.steps,
            "tokens": float(self._tokens),
            "trained_tokens": float(self._trained),
            "seconds": self._seconds,
            "learning_rate": self._rate,
        }
