"""Supervised fine-tuning: imitate the trained tokens of every row.

With sequences r of tokens x_{r,1..n}, S_r the trained positions of r, a_{r,t} the weight of a token
(its turn's times its row's) and w_r = |S_r|^-e,

    loss = - Σ_r w_r · Σ_{t ∈ S_r} a_{r,t} · log p(x_{r,t} | x_{r,1..t-1})  /  Σ_r w_r · Σ_{t ∈ S_r} a_{r,t}

With e = 0 every trained token weighs the same, whichever row it is in; with e = 1 every row does. A
row's first token is never in S: nothing precedes it. Of texts that is the language-modelling
loss of Radford et al. 2018, "Improving language understanding by generative pre-training", eq. 1; of chats
the loss over answers alone that instruction tuning takes, as Shi et al. 2024, arXiv:2405.14394, write it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from realm.core.config import Config as BaseConfig
from realm.training.losses import summed_weight, weighted_cross_entropy
from realm.training.method import Loss, Row

if TYPE_CHECKING:
    from realm.core.records import Example
    from realm.training.batching import Batch, Unit
    from realm.training.trainee import Trainee


class Supervised:
    """Minimise the weighted mean cross-entropy of the trained tokens, in nats."""

    generates: ClassVar[bool] = False

    class Config(BaseConfig):
        """How rows of different length weigh against each other."""

        kind: Literal["supervised"] = "supervised"
        length_exponent: Annotated[float, Field(ge=0, le=1)] = 0.0
        """e: 0 counts tokens alike, 1 counts rows alike, so that short answers weigh more."""

    def __init__(self, config: Config) -> None:
        self.config = config

    def sequences(self, example: Example) -> tuple[Example, ...]:
        """Return the row itself."""
        return (example,)

    def begin(self, trainee: Trainee) -> None:
        """Nothing has to be prepared."""

    def units(self, trainee: Trainee, step: int, rows: Sequence[Row]) -> list[Unit]:
        """Return one unit a row."""
        from realm.training.batching import Unit

        return [Unit(row.sequences, row.index) for row in rows]

    def normaliser(self, units: Sequence[Unit]) -> float:
        """Return the summed weight of all trained tokens."""
        return summed_weight(units, self.config.length_exponent)

    def loss(self, trainee: Trainee, batch: Batch) -> Loss:
        """Return the weighted sum of the pack's cross-entropies."""
        return Loss(weighted_cross_entropy(trainee, batch, self.config.length_exponent))
