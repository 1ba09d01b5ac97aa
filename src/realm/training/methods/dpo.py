"""Preferences without a reward model: raise the better ending over the worse one.

A row is a prompt x with a better ending y⁺ and a worse one y⁻; π is the model, π₀ the one that the
run began with. With the log-ratio ρ(y) = Σ_t log π(y_t | x, y_<t) - log π₀(y_t | x, y_<t), divided by
|y| where lengths are normalised, the margin Δ = ρ(y⁺) - ρ(y⁻) and a the row's weight,

    sigmoid   l = - (1 - ε) · log σ(β Δ) - ε · log σ(-β Δ)      Rafailov et al. 2023, arXiv:2305.18290;
                                                                ε: Mitchell 2023, conservative DPO
    ipo       l = (Δ - 1 / (2β))²                               Azar et al. 2023, arXiv:2310.12036

    loss = Σ_r a_r · (l_r - s · log π(y⁺_r | x_r) / |y⁺_r|) / Σ_r a_r      s: Pang et al. 2024,
                                                                         arXiv:2404.19733

The prompt is what both chats begin with; only the assistant's turns behind it are scored. π₀ is the
base with its adapter switched off, or a frozen copy where all parameters are trained or the run went
on with an adapter.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from realm.core.config import Config as BaseConfig
from realm.core.errors import DataError
from realm.training.method import Loss, Row

if TYPE_CHECKING:
    import torch

    from realm.core.records import Example, Message
    from realm.training.batching import Batch, Unit
    from realm.training.trainee import Trainee


class DPO:
    """Minimise the preference loss of pairs of endings."""

    generates: ClassVar[bool] = False

    class Config(BaseConfig):
        """Which loss, and how far the model may go from where it began."""

        kind: Literal["dpo"] = "dpo"
        loss: Literal["sigmoid", "ipo"] = "sigmoid"
        """DPO's logistic loss, or IPO's squared one, which aims at a margin of 1 / 2β."""
        beta: Annotated[float, Field(gt=0)] = 0.1
        """β: the larger, the closer the model stays to the one it began as."""
        length_normalised: bool = False
        """Divide log-ratios by the ending's tokens, so that long endings do not outweigh short ones."""
        label_smoothing: Annotated[float, Field(ge=0, lt=0.5)] = 0.0
        """ε: share of pairs that are the wrong way round."""
        sft_weight: Annotated[float, Field(ge=0)] = 0.0
        """s: weight of the better ending's mean cross-entropy, which keeps it likely."""

        @model_validator(mode="after")
        def _smoothing_has_a_meaning(self) -> Self:
            if self.loss == "ipo" and self.label_smoothing:
                raise ValueError("label_smoothing belongs to the sigmoid loss")
            return self

    def __init__(self, config: Config) -> None:
        self.config = config

    def sequences(self, example: Example) -> tuple[Example, ...]:
        """Return the better and the worse chat. Raises DataError where they are no preference."""
        if example.rejected and example.messages[0].content != example.rejected[0].content:
            raise DataError("both chats of a preference begin with the same prompt", file="row")
        return ending_only(example)

    def begin(self, trainee: Trainee) -> None:
        """Keep the model that the run began with."""
        trainee.keep_reference()

    def units(self, trainee: Trainee, step: int, rows: Sequence[Row]) -> list[Unit]:
        """Return one unit a pair."""
        from realm.training.batching import Unit

        return [Unit(row.sequences, row.index) for row in rows]

    def normaliser(self, units: Sequence[Unit]) -> float:
        """Return the summed weight of the pairs."""
        return sum(_weight(unit) for unit in units)

    def loss(self, trainee: Trainee, batch: Batch) -> Loss:
        """Return the weighted sum of the pairs' losses."""
        reference_M = trainee.reference_log_probs(batch)
        log_p_M = trainee.log_probs(batch)
        log_p_U2, tokens_U2 = _by_ending(batch, log_p_M), _by_ending(batch, log_p_M.new_ones(len(log_p_M)))
        ratio_U2 = log_p_U2 - _by_ending(batch, reference_M)
        scored_U2 = ratio_U2 / tokens_U2 if self.config.length_normalised else ratio_U2
        losses_U = self._of_margin(scored_U2[:, 0] - scored_U2[:, 1])
        losses_U = losses_U - self.config.sft_weight * log_p_U2[:, 0] / tokens_U2[:, 0]
        weights_U = losses_U.new_tensor([_weight(unit) for unit in batch.units])
        rewards_U2 = self.config.beta * scored_U2.detach()
        margin_U = rewards_U2[:, 0] - rewards_U2[:, 1]
        return Loss(
            (losses_U * weights_U).sum(),
            {
                "rewards_chosen": float(rewards_U2[:, 0].sum()),
                "rewards_rejected": float(rewards_U2[:, 1].sum()),
                "margin": float(margin_U.sum()),
                "accuracy": float((margin_U > 0).sum()),
            },
        )

    def _of_margin(self, margin_U: torch.Tensor) -> torch.Tensor:
        """Return l for each margin Δ."""
        from torch.nn.functional import logsigmoid

        beta, smoothing = self.config.beta, self.config.label_smoothing
        if self.config.loss == "ipo":
            return (margin_U - 1 / (2 * beta)) ** 2
        return -(1 - smoothing) * logsigmoid(beta * margin_U) - smoothing * logsigmoid(-beta * margin_U)


def ending_only(example: Example) -> tuple[Example, Example]:
    """Return the better and the worse ending of a preference; only where they differ is trained.

    What both chats begin with is their prompt and masked. Raises DataError for a row that is no
    preference, or whose endings are the same or train nothing.
    """
    better, worse = example.messages, example.rejected
    if not worse:
        raise DataError(
            "the row has no rejected ending", file="rows", hint="preferences are prompt, chosen, rejected"
        )
    common = 0
    while common < min(len(better), len(worse)) and _same(better[common], worse[common]):
        common += 1
    endings = (better[common:], worse[common:])
    for which, ending in zip(("chosen", "rejected"), endings, strict=True):
        if not any(turn.role == "assistant" and turn.weight for turn in ending):
            raise DataError(
                f"the {which} ending says nothing that the other one does not",
                file="rows",
                hint="the two endings must differ in what the assistant says",
            )
    prompt = tuple(turn.model_copy(update={"weight": 0.0}) for turn in better[:common])
    first, second = (
        example.model_copy(update={"messages": (*prompt, *ending), "rejected": ()}) for ending in endings
    )
    return first, second


def _same(one: Message, other: Message) -> bool:
    return one.role == other.role and one.content == other.content


def _by_ending(batch: Batch, values_M: torch.Tensor) -> torch.Tensor:
    """Sum over each ending: (U, 2), the better one first."""
    return values_M.new_zeros(batch.sequences).index_add(0, batch.row_of_M, values_M).view(-1, 2)


def _weight(unit: Unit) -> float:
    return float(unit.sequences[0].weights.max())
