"""Distillation: learn from a teacher's distribution, or from its words.

Where the teacher gives its logits, with q its and p the model's distribution at a trained token, both
at temperature T, and m = β q + (1 - β) p,

    β = 0      D = KL(q ‖ p)                            forward: covers all that the teacher would say
    β = 1      D = KL(p ‖ q)                            reverse: stays with what it says most
    between    D = β KL(q ‖ m) + (1 - β) KL(p ‖ m)      generalised Jensen-Shannon

    loss = Σ_t a_t · D_t / Σ_t a_t

with a_t the weight that the data gives the token. Agarwal et al. 2024, "On-policy distillation of
language models", arXiv:2306.13649, eq. 1, on the rows' own answers; as there, T is not squared.

Where it gives words only, q is all on the token that it wrote and D = KL(q ‖ p) = - log p(x_t | x_<t):
Kim & Rush 2016, "Sequence-level knowledge distillation", arXiv:1606.07947. Its answers have become the
rows before the run (`realm.training.teacher.fetch_answers`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, SerializeAsAny, model_validator

from realm.core.config import Config as BaseConfig
from realm.training.losses import summed_weight, weighted_cross_entropy
from realm.training.method import Loss, Row
from realm.training.teacher import TEACHERS

if TYPE_CHECKING:
    import torch

    from realm.core.records import Example
    from realm.training.batching import Batch, Unit
    from realm.training.teacher import Scorer
    from realm.training.trainee import Trainee


class Distillation:
    """Minimise the divergence from a teacher."""

    generates: ClassVar[bool] = False

    class Config(BaseConfig):
        """Who teaches, and which divergence is minimised."""

        kind: Literal["distillation"] = "distillation"
        teacher: Annotated[SerializeAsAny[BaseConfig], TEACHERS.part()]
        """Who teaches: a checkpoint on this machine, or a service."""
        beta: Annotated[float, Field(ge=0, le=1)] = 0.5
        """β: 0 the forward KL, 1 the reverse, between them the generalised JSD."""
        temperature: Annotated[float, Field(gt=0)] = 1.0
        """T: above 1 both distributions are flattened, so that unlikely tokens count more."""

        @model_validator(mode="after")
        def _divergence_has_a_meaning(self) -> Self:
            teacher: Any = self.teacher
            if TEACHERS.load(teacher.kind).token_level or (self.beta, self.temperature) == (0.5, 1.0):
                return self
            raise ValueError(
                f"beta and temperature belong to a teacher that gives its logits; {teacher.kind} gives words"
            )

    def __init__(self, config: Config) -> None:
        self.config = config
        self._teacher = TEACHERS.build(config.teacher)
        self._scorer: Scorer | None = None

    def sequences(self, example: Example) -> tuple[Example, ...]:
        """Return the row itself. Raises DataError where the teacher has not answered it."""
        self._teacher.check(example)
        return (example,)

    def begin(self, trainee: Trainee) -> None:
        """Load the teacher. Raises ConfigError where its vocabulary is another one."""
        self._scorer = self._teacher.open(trainee)

    def units(self, trainee: Trainee, step: int, rows: Sequence[Row]) -> list[Unit]:
        """Return one unit a row."""
        from realm.training.batching import Unit

        return [Unit(row.sequences, row.index) for row in rows]

    def normaliser(self, units: Sequence[Unit]) -> float:
        """Return the summed weight of all trained tokens."""
        return summed_weight(units)

    def loss(self, trainee: Trainee, batch: Batch) -> Loss:
        """Return the pack's weighted sum of divergences."""
        if self._scorer is None:
            return Loss(weighted_cross_entropy(trainee, batch))
        from realm.training.facts import unit_means

        scorer, beta, temperature = self._scorer, self.config.beta, self.config.temperature

        def read(logits_XV: torch.Tensor, hidden_XD: torch.Tensor) -> torch.Tensor:
            teacher_XV = scorer.logits(hidden_XD)
            same_X = (logits_XV.argmax(-1) == teacher_XV.argmax(-1)).to(logits_XV)
            divergence_X = divergence(logits_XV / temperature, teacher_XV / temperature, beta)
            return torch.stack([divergence_X, same_X], dim=-1)

        import torch

        values_M2 = trainee.read_logits(batch, read, scorer.hidden(batch))
        divergence_M, same_M = values_M2.unbind(-1)
        return Loss(
            (divergence_M * batch.weights_M).sum(),
            {"divergence": unit_means(batch, divergence_M), "agreement": unit_means(batch, same_M)},
        )


def divergence(student_XV: torch.Tensor, teacher_XV: torch.Tensor, beta: float) -> torch.Tensor:
    """Return D of each pair of logits (X,), in nats."""
    import torch

    log_p_XV, log_q_XV = student_XV.log_softmax(-1), teacher_XV.log_softmax(-1)
    if beta == 0:
        return _kl(log_q_XV, log_p_XV)
    if beta == 1:
        return _kl(log_p_XV, log_q_XV)
    share = log_p_XV.new_tensor(beta)
    log_m_XV = torch.logaddexp(log_p_XV + torch.log1p(-share), log_q_XV + share.log())
    return beta * _kl(log_q_XV, log_m_XV) + (1 - beta) * _kl(log_p_XV, log_m_XV)


def _kl(log_a_XV: torch.Tensor, log_b_XV: torch.Tensor) -> torch.Tensor:
    return (log_a_XV.exp() * (log_a_XV - log_b_XV)).sum(-1)
