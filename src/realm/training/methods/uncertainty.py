"""Uncertainty-focused training: the less sure the model is of a token, the more it counts.

With u_t the surprise of the model's distribution p at a trained token, z_t = (u_t - mean u) / std u
over all trained tokens of the step, and a_t the weight that the data gives the token,

    f_t  = f_min + σ(z_t / T) · (f_max - f_min)
    loss = - Σ_t a_t · f_t · log p(x_t | x_<t)  /  Σ_t a_t

    entropy     u = H(p)
    max_prob    u = 1 - max p
    perplexity  u = exp H(p)
    margin      u = 1 - (p₍₁₎ - p₍₂₎), the two likeliest tokens

f carries no gradient. Surprise is measured in a pass of its own over the whole step, without dropout,
before the step is cut into packs; so its mean and deviation, and with them the gradient, are the same
however it is cut. That pass costs about a third of a step. Related: focal loss, Lin et al. 2017,
arXiv:1708.02002.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from realm.core.config import Config as BaseConfig
from realm.training.losses import summed_weight
from realm.training.method import Loss, Row

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

    from realm.core.records import Example
    from realm.training.batching import Batch, Unit
    from realm.training.trainee import Trainee

_TOKENS_AT_ONCE = 16_384
"""Of one pack in the pass that measures surprise."""


class Uncertainty:
    """Minimise the cross-entropy of trained tokens, weighted by the model's own uncertainty."""

    generates: ClassVar[bool] = False

    class Config(BaseConfig):
        """What counts as surprise, and how much it counts."""

        kind: Literal["uncertainty"] = "uncertainty"
        surprise: Literal["entropy", "max_prob", "perplexity", "margin"] = "entropy"
        """Of the distribution p: H(p), 1 - max p, exp H(p), or 1 - the likeliest token's lead."""
        temperature: Annotated[float, Field(gt=0)] = 1.0
        """T: the smaller, the sharper sure and unsure tokens are told apart."""
        min_weight: Annotated[float, Field(ge=0)] = 0.5
        """f_min: weight of the surest token."""
        max_weight: Annotated[float, Field(gt=0)] = 2.0
        """f_max: weight of the least sure token."""

        @model_validator(mode="after")
        def _ordered(self) -> Self:
            if self.min_weight > self.max_weight:
                raise ValueError("min_weight is above max_weight")
            return self

    def __init__(self, config: Config) -> None:
        self.config = config

    def sequences(self, example: Example) -> tuple[Example, ...]:
        """Return the row itself."""
        return (example,)

    def begin(self, trainee: Trainee) -> None:
        """Nothing has to be prepared."""

    def units(self, trainee: Trainee, step: int, rows: Sequence[Row]) -> list[Unit]:
        """Return one unit a row, with the focus f of each of its trained tokens."""
        import numpy as np

        from realm.training.batching import Unit

        units = [Unit(row.sequences, row.index) for row in rows]
        surprise = self._surprises(trainee, units)
        flat = np.concatenate(surprise).astype(np.float64)
        z = (flat - flat.mean()) / max(flat.std(), 1e-8)
        span = self.config.max_weight - self.config.min_weight
        # Written with tanh, which does not overflow where a single token is far off.
        focus = self.config.min_weight + span * (0.5 + 0.5 * np.tanh(z / self.config.temperature / 2))
        parts = np.split(focus.astype(np.float32), np.cumsum([len(each) for each in surprise])[:-1])
        facts = zip(units, parts, surprise, strict=True)
        return [replace(unit, facts={"focus": f, "surprise": u}) for unit, f, u in facts]

    def normaliser(self, units: Sequence[Unit]) -> float:
        """Return the summed weight that the data gives the trained tokens."""
        return summed_weight(units)

    def loss(self, trainee: Trainee, batch: Batch) -> Loss:
        """Return the sum of cross-entropies, weighted by the data and by the focus."""
        from realm.training.facts import per_token, unit_means

        focus_M = per_token(batch, "focus")
        return Loss(
            trainee.cross_entropy(batch, batch.weights_M * focus_M),
            {
                "focus": unit_means(batch, focus_M),
                "surprise": unit_means(batch, per_token(batch, "surprise")),
            },
        )

    def _surprises(self, trainee: Trainee, units: Sequence[Unit]) -> list[NDArray[np.float32]]:
        """Return the surprise of each unit's trained tokens, without gradients and dropout."""
        import torch

        from realm.training.batching import best_fit, pack
        from realm.training.facts import split_by_unit

        numbered = [replace(unit, row=number) for number, unit in enumerate(units)]
        found: dict[int, NDArray[np.float32]] = {}
        read = _SURPRISE[self.config.surprise]
        training = trainee.model.training
        trainee.model.eval()
        with torch.no_grad():
            for members in best_fit(numbered, _TOKENS_AT_ONCE):
                batch = pack(members, trainee.device)
                values_M = trainee.read_logits(batch, read)
                pairs = zip(members, split_by_unit(batch, values_M), strict=True)
                found.update((unit.row, values) for unit, values in pairs)
        trainee.model.train(training)
        return [found[number] for number in range(len(units))]


def _entropy(logits_XV: torch.Tensor) -> torch.Tensor:
    log_p_XV = logits_XV.log_softmax(-1)
    return -(log_p_XV.exp() * log_p_XV).sum(-1)


def _perplexity(logits_XV: torch.Tensor) -> torch.Tensor:
    return _entropy(logits_XV).exp()


def _max_prob(logits_XV: torch.Tensor) -> torch.Tensor:
    return 1 - logits_XV.softmax(-1).amax(-1)


def _margin(logits_XV: torch.Tensor) -> torch.Tensor:
    likeliest_X2 = logits_XV.softmax(-1).topk(2, dim=-1).values
    return 1 - (likeliest_X2[:, 0] - likeliest_X2[:, 1])


_SURPRISE: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "entropy": _entropy,
    "max_prob": _max_prob,
    "perplexity": _perplexity,
    "margin": _margin,
}
