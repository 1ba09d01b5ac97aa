"""GRPO's updates: several on the same answers, killed between them, and answers that move nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_methods import GRPO, step
from tiny_runs import drills, make_job, run, stages
from torch.optim.optimizer import register_optimizer_step_post_hook

from realm.core.events import Emit, Event, RolledBack, ignore
from realm.training.engine import train
from realm.training.job import TrainJob
from realm.training.method import METHODS
from realm.training.trainer import Trainer

MASKED = {"truncated": "masked", "truncated_reward": 0.0}
LETTERS = [{"reward": {"kind": "python", "function": "training_rewards:letters"}}]
SEVERAL = {
    **GRPO,
    "rewards": LETTERS,
    "group_size": 4,
    "max_answer_tokens": 60,
    "updates_per_batch": 3,
}


def _several(tmp_path: Path, **method: Any) -> TrainJob:
    return make_job(
        tmp_path,
        drills(6),
        steps=2,
        method={**SEVERAL, **method},
        saving={"every_steps": 1},
        optimizer={"learning_rate": 2e-2},
        schedule={"kind": "constant", "warmup_steps": 0},
        clip_norm=None,
    )


def _prepared(job: TrainJob, emit: Emit = ignore) -> Trainer:
    trainer = Trainer(job, emit)
    trainer.prepare()
    return trainer


def _weights(stage: str) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in Path(stage).glob("*.safetensors")}


def test_a_step_of_several_updates_clips_and_tells_of_all(tmp_path: Path) -> None:
    """What it does is what as many updates on its answers do."""
    job = _several(tmp_path, kl_weight=0.0)
    trainer, other = _prepared(job), _prepared(job)
    units = other._batches.units(0)
    other._set_rate()
    clipped = []
    for _ in range(3):
        _, _, figures = step(other.trainee, METHODS.build(job.recipe.method), units)
        clipped.append(figures["clipped"])
        other._optimizer.step()
    trainer.take_step()
    for found, expected in zip(trainer.model.parameters(), other.model.parameters(), strict=True):
        assert torch.equal(found, expected)
    assert clipped[0] == 0 < clipped[1]
    assert trainer.progress.tokens == 3 * sum(unit.tokens for unit in units)
    assert trainer._statistics.summary()["clipped"] == pytest.approx(sum(clipped) / 3)


def test_a_run_that_ends_between_two_updates_is_resumed_exactly(tmp_path: Path) -> None:
    job = _several(tmp_path)
    expected = _weights(stages(run(job))[-1].stage)
    for updates in (1, 2, 4, 5):
        events: list[Event] = []
        with pytest.raises(KeyboardInterrupt), _killed_after(updates):
            train(job, events.append, lambda: False)
        saved = stages(events)
        assert len(saved) == (updates - 1) // 3
        start = saved[-1].stage if saved else job.start
        found = stages(run(job.model_copy(update={"start": start})))[-1]
        assert _weights(found.stage) == expected, updates


@contextmanager
def _killed_after(updates: int) -> Iterator[None]:
    """Interrupt the process once the optimizer has stepped so often."""
    left = [updates]

    def count(*_: object) -> None:
        left[0] -= 1
        if not left[0]:
            raise KeyboardInterrupt

    hook = register_optimizer_step_post_hook(count)
    try:
        yield
    finally:
        hook.remove()


def test_a_second_update_that_would_do_harm_is_left_out_alone(tmp_path: Path) -> None:
    job = _several(tmp_path, kl_weight=0.0)
    events: list[Event] = []
    trainer = _prepared(job, events.append)
    first = next(trainer.model.parameters())

    def spoil(gradient: torch.Tensor) -> torch.Tensor:
        passes.append(1)
        return gradient * float("nan") if len(passes) == 2 else gradient

    passes: list[int] = []
    first.register_hook(spoil)
    trainer.take_step()
    [back] = [event for event in events if isinstance(event, RolledBack)]
    assert (back.step, back.to_step) == (1, 1)
    assert (trainer.progress.step, trainer.progress.batch, trainer.progress.discarded) == (1, 1, 1)
    trainer.take_step()
    assert trainer.progress.step == 2
    assert all(torch.isfinite(parameter).all() for parameter in trainer.model.parameters())


def test_masked_answers_move_nothing_and_count_as_nothing_trained(tmp_path: Path) -> None:
    config = {**GRPO, "rewards": LETTERS, "kl_weight": 0.0, "max_answer_tokens": 2, **MASKED}
    job = make_job(tmp_path, drills(4), steps=1, method=config)
    trainer = _prepared(job)
    units = trainer._batches.units(0)
    told = trainer._batches.gradient(units)
    assert all(unit.silent for unit in units)
    assert (told.trained_tokens, told.tokens) == (0, sum(unit.tokens for unit in units))
    assert all(
        not parameter.grad.any() for parameter in trainer.model.parameters() if parameter.grad is not None
    )
