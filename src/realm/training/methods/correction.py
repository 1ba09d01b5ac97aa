"""Self-correction: judge a proposed answer, put it right, or confirm it.

A row is a chat whose last user turn proposes an answer (`models.correction` has the form and the types)
and whose last turn is what the assistant should reply. Its tag `type` says what it teaches. Where the row
names the `expected` answer, a proposal that does not fit the type is refused. The loss is
that of supervised training on the last turn alone,

    loss = - Σ_r w_r · Σ_{t ∈ S_r} a_{r,t} · log p(x_{r,t} | x_{r,<t})  /  Σ_r w_r · Σ_{t ∈ S_r} a_{r,t}

with S_r its tokens, a the row's weight and w_r = |S_r|^-e. After Welleck et al. 2022, "Generating
sequences by learning to self-correct" (arXiv:2211.00053), with the corrector being the model itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from realm.core.config import Config as BaseConfig
from realm.core.errors import DataError
from realm.models.correction import TAG, fault
from realm.training.losses import summed_weight, weighted_cross_entropy
from realm.training.method import Loss, Row

if TYPE_CHECKING:
    from realm.core.records import Example
    from realm.training.batching import Batch, Unit
    from realm.training.trainee import Trainee


class Correction:
    """Minimise the weighted mean cross-entropy of replies to proposed answers, in nats."""

    generates: ClassVar[bool] = False

    class Config(BaseConfig):
        """How replies of different length weigh against each other."""

        kind: Literal["correction"] = "correction"
        length_exponent: Annotated[float, Field(ge=0, le=1)] = 1.0
        """e: 0 counts tokens alike, 1 rows, so that a one-word judgement weighs as much as a correction."""

    def __init__(self, config: Config) -> None:
        self.config = config

    def sequences(self, example: Example) -> tuple[Example, ...]:
        """Return the row with its last turn trained alone. Raises DataError for another form."""
        roles = [message.role for message in example.messages[-2:]]
        if roles != ["user", "assistant"]:
            raise DataError("a correction ends with a user's and an assistant's turn", file="row")
        asked, reply = example.messages[-2:]
        wrong = fault(example.tags.get(TAG), asked.content, reply.content, example.expected)
        if wrong:
            raise DataError(wrong, file="row", hint="docs/methods.md shows the form")
        silent = tuple(message.model_copy(update={"weight": 0.0}) for message in example.messages[:-1])
        return (example.model_copy(update={"messages": (*silent, example.messages[-1])}),)

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
