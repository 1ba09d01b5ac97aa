"""Reinforcement with verifiable rewards: make answers likelier that do better than their siblings.

The model writes G answers y to a prompt x; R is the weighted sum of rewards, and

    A_i     = (R_i - mean R) / (std R + 1e-4)           without the divisor where scale is `none`
    ρ_t     = π(y_t | x, y_<t) / π_old(y_t | x, y_<t)
    k_t     = π₀/π - log(π₀/π) - 1                      k3 estimate of KL(π ‖ π₀), π₀ as the run began
    l_t     = - min(ρ_t A_i, clip(ρ_t, 1 - ε_low, 1 + ε_high) A_i) + κ ρ_t k_t

    sequence  loss = Σ_i a_i (Σ_t l_t / |y_i|) / Σ_i a_i       Shao et al. 2024, arXiv:2402.03300
    token     loss = Σ_i a_i Σ_t l_t / Σ_i a_i |y_i|           Yu et al. 2025, DAPO, arXiv:2503.14476
    constant  loss = Σ_i a_i Σ_t l_t / (L Σ_i a_i)             Liu et al. 2025, Dr. GRPO, arXiv:2503.20783

The factor ρ_t makes the gradient of k_t that of the KL (DeepSeek-AI 2025, arXiv:2512.02556). a is the
row's weight, L the longest answer allowed, and std of G - 1 degrees of freedom. All
probabilities are at the sampling temperature.

Every step samples anew, from the weights that it changes, and takes `updates_per_batch` updates on its
answers. π_old is what the sampler itself gave each token. In the first update ρ is 1 but for what sets
sampler and trainer apart (precision, kernels); in those after it clipping bounds how far the weights
move from the ones that wrote the answers. A step is saved whole or not at all: after an interruption
between its updates it samples again, from the same weights and seeds, the same answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from realm.core.config import Config as BaseConfig
from realm.core.errors import RefusedError
from realm.core.seeds import seed as seed_of
from realm.training.method import Loss, Row
from realm.training.reward import LARGEST, REWARDS, WeightedReward, question_of

if TYPE_CHECKING:
    import torch

    from realm.core.records import Example
    from realm.training.batching import Batch, Unit
    from realm.training.rollouts import Rollout
    from realm.training.trainee import Trainee

_STD_FLOOR = 1e-4


class GRPO:
    """Maximise rewards of sampled answers against those of their group."""

    generates: ClassVar[bool] = True

    class Config(BaseConfig):
        """How answers are sampled and graded, and how far one step may go."""

        kind: Literal["grpo"] = "grpo"
        rewards: Annotated[tuple[WeightedReward, ...], Field(min_length=1)]
        """What grades an answer; its reward is their weighted sum."""
        group_size: Annotated[int, Field(ge=2)] = 8
        """G: answers to each prompt."""
        max_answer_tokens: Annotated[int, Field(ge=1)] = 256
        """L: longer answers are cut off, tokens."""
        temperature: Annotated[float, Field(ge=0.01)] = 1.0
        """Of sampling, and of all probabilities in the loss."""
        top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
        """Sample from the likeliest tokens that hold this much of the probability."""
        scale: Literal["group", "none"] = "group"
        """Divide advantages by the group's standard deviation, or leave them."""
        aggregation: Literal["sequence", "token", "constant"] = "token"
        """What weighs the same: answers, tokens, or tokens against the longest answer allowed."""
        clip_low: Annotated[float, Field(ge=0, lt=1)] = 0.2
        """ε_low: a token is made rarer until its probability is 1 - ε_low of what it was."""
        clip_high: Annotated[float, Field(ge=0)] = 0.2
        """ε_high: a token is made likelier until its probability is 1 + ε_high times what it was."""
        updates_per_batch: Annotated[int, Field(ge=1)] = 1
        """Updates on the answers of a step, each over all of them."""
        kl_weight: Annotated[float, Field(ge=0)] = 0.0
        """κ: how much the divergence from the model that the run began with counts; 0 keeps no such model."""
        truncated: Literal["masked", "penalised"] = "masked"
        """An answer that was cut off is not trained, or has `truncated_reward` whatever it says."""
        truncated_reward: Annotated[float, Field(ge=-LARGEST, le=LARGEST)] = 0.0
        """Of an answer that was cut off, where `truncated` is `penalised`."""

        @model_validator(mode="after")
        def _truncated_reward_has_a_meaning(self) -> Self:
            if self.truncated == "masked" and self.truncated_reward:
                raise ValueError("truncated_reward belongs to truncated: penalised")
            return self

    def __init__(self, config: Config) -> None:
        self.config = config
        self._rewards = [(each.weight, REWARDS.build(each.reward)) for each in config.rewards]

    def sequences(self, example: Example) -> tuple[Example, ...]:
        """Return the prompt alone. Raises DataError where it cannot be answered or graded."""
        question = question_of(example)
        for _, reward in self._rewards:
            reward.check(question)
        return (example.model_copy(update={"messages": question.prompt, "rejected": ()}),)

    def begin(self, trainee: Trainee) -> None:
        """Keep the model that the run began with, where the loss compares with it."""
        if self.config.kl_weight:
            trainee.keep_reference()

    def units(self, trainee: Trainee, step: int, rows: Sequence[Row]) -> list[Unit]:
        """Sample a group of answers to each row and return one unit an answer."""
        from realm.training.rollouts import Sampling, sample

        c = self.config
        prompts = [row.sequences[0].ids for row in rows]
        seeds = [
            [seed_of("rollout", trainee.seed, step, row.index, i) for i in range(c.group_size)]
            for row in rows
        ]
        groups = sample(trainee, prompts, seeds, Sampling(c.max_answer_tokens, c.temperature, c.top_p))
        return [
            unit for row, group in zip(rows, groups, strict=True) for unit in self._group(trainee, row, group)
        ]

    def normaliser(self, units: Sequence[Unit]) -> float:
        """Return the summed weight of answers, tokens or longest answers, above 0."""
        total = 0.0
        for unit in units:
            weight = float(unit.facts["weight"][0])
            total += {
                "sequence": weight,
                "token": weight * unit.learnt_tokens,
                "constant": weight * self.config.max_answer_tokens,
            }[self.config.aggregation]
        # Where every answer was cut off and is masked, nothing is divided by next to nothing.
        return max(total, 1e-6)

    def loss(self, trainee: Trainee, batch: Batch) -> Loss:
        """Return the pack's part of the clipped objective, negated."""
        import torch

        from realm.training.facts import per_token, per_unit, unit_means

        kl_M = torch.zeros_like(batch.weights_M)
        reference_M = self._reference_log_probs(trainee, batch) if self.config.kl_weight else None
        log_p_M, entropy_M = trainee.read_logits(batch, self._read, batch.targets_M).unbind(-1)
        advantage_M = per_unit(batch, "advantage")[batch.row_of_M]
        ratio_M = (log_p_M - per_token(batch, "log_probs")).exp()
        clipped_M = ratio_M.clamp(1 - self.config.clip_low, 1 + self.config.clip_high)
        losses_M = -torch.minimum(ratio_M * advantage_M, clipped_M * advantage_M)
        if reference_M is not None:
            kl_M = (reference_M - log_p_M).exp() - (reference_M - log_p_M) - 1
            losses_M = losses_M + self.config.kl_weight * ratio_M * kl_M
        weight_U = per_unit(batch, "weight")
        weight_U = weight_U * weight_U.new_tensor([not unit.silent for unit in batch.units])
        if self.config.aggregation == "sequence":
            weight_U = weight_U / weight_U.new_tensor([unit.trained_tokens for unit in batch.units])
        return Loss(
            (losses_M * weight_U[batch.row_of_M]).sum(),
            {
                **{
                    name: float(per_unit(batch, name).sum()) for name in ("reward", "reward_std", "truncated")
                },
                "answer_tokens": float(batch.trained_tokens),
                "kl": unit_means(batch, kl_M),
                "entropy": unit_means(batch, entropy_M),
                "clipped": unit_means(batch, (clipped_M * advantage_M < ratio_M * advantage_M).float()),
            },
        )

    def _group(self, trainee: Trainee, row: Row, group: Sequence[Rollout]) -> list[Unit]:
        """Grade one prompt's answers and make units of them."""
        import numpy as np

        from realm.training.rollouts import as_unit

        rewards = np.asarray([self._reward(trainee, row, rollout) for rollout in group])
        std = rewards.std(ddof=1)
        advantages = rewards - rewards.mean()
        if self.config.scale == "group":
            advantages = advantages / (std + _STD_FLOOR)
        return [
            as_unit(
                row,
                rollout,
                advantage=advantage,
                reward=reward,
                reward_std=std,
                truncated=not rollout.ended,
                silent=not rollout.ended and self.config.truncated == "masked",
                weight=row.example.weight,
            )
            for rollout, reward, advantage in zip(group, rewards, advantages, strict=True)
        ]

    def _reward(self, trainee: Trainee, row: Row, rollout: Rollout) -> float:
        """Return the weighted sum of what the rewards give an answer. RefusedError names the row."""
        if not rollout.ended and self.config.truncated == "penalised":
            return self.config.truncated_reward
        answer = trainee.tokenizer.decode(rollout.ids, skip_special_tokens=True)
        question = question_of(row.example)
        try:
            return sum(weight * reward.score(question, answer) for weight, reward in self._rewards)
        except RefusedError as error:
            raise RefusedError(f"row {row.number}: {error.what}", hint=error.hint) from error

    def _reference_log_probs(self, trainee: Trainee, batch: Batch) -> torch.Tensor:
        from realm.training.forward import predictions
        from realm.training.pieces import read_logits

        with trainee.reference() as model:
            return read_logits(model, self._read, predictions(model, batch), batch.targets_M)[:, 0]

    def _read(self, logits_XV: torch.Tensor, targets_X: torch.Tensor) -> torch.Tensor:
        """Return log p of the target and the entropy, (X, 2), at the sampling temperature."""
        import torch

        log_p_XV = (logits_XV / self.config.temperature).log_softmax(-1)
        entropy_X = -(log_p_XV.detach().exp() * log_p_XV.detach()).sum(-1)
        return torch.stack([log_p_XV.gather(-1, targets_X[:, None])[:, 0], entropy_X], dim=-1)
