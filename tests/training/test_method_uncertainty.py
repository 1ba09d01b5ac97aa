"""Uncertainty-focused loss against an independent formula in double precision."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_methods import assert_equal_gradients, gradients_of, made, step, units_of
from tiny_runs import chat, drills, make_job, qwen3, run
from transformers import PreTrainedModel

from realm.core.errors import ConfigError
from realm.core.events import StepTaken
from realm.training.method import METHODS

ROWS = [*drills(5), chat("a", "the quick brown fox").model_copy(update={"weight": 2.0})]


def _surprise(kind: str, p: np.ndarray) -> float:
    entropy = float(-(p * np.log(p)).sum())
    second, first = np.sort(p)[-2:]
    return {
        "entropy": entropy,
        "max_prob": 1 - first,
        "perplexity": np.exp(entropy),
        "margin": 1 - (first - second),
    }[kind]


def _decided() -> PreTrainedModel:
    """Return a model that is surer of some tokens than of others, as blank ones are not."""
    model = qwen3(0)
    with torch.no_grad():
        model.get_output_embeddings().weight.mul_(5)
    return model


@pytest.mark.parametrize("kind", ["entropy", "max_prob", "perplexity", "margin"])
def test_loss_and_gradients_equal_the_formula(tmp_path: Path, kind: str) -> None:
    trainee = made(tmp_path, model=_decided())
    settings = {"surprise": kind, "temperature": 0.7, "min_weight": 0.2, "max_weight": 3.0}
    method, units = units_of(trainee, {"kind": "uncertainty", **settings}, ROWS)
    loss, gradients, figures = step(trainee, method, units)

    reference = _decided()
    losses, surprise, weights = list[torch.Tensor](), list[float](), list[float]()
    for unit in units:
        row = unit.sequences[0]
        ids = torch.from_numpy(row.ids).long()
        log_p = reference(input_ids=ids[None]).logits[0].double().log_softmax(-1)
        for t in range(1, len(ids)):
            if row.weights[t]:
                losses.append(-log_p[t - 1, ids[t]])
                surprise.append(_surprise(kind, log_p[t - 1].detach().exp().numpy()))
                weights.append(float(row.weights[t]))
    z = (np.array(surprise) - np.mean(surprise)) / np.std(surprise)
    focus = 0.2 + (3.0 - 0.2) / (1 + np.exp(-z / 0.7))
    expected = sum(a * f * loss for a, f, loss in zip(weights, focus, losses, strict=True)) / sum(weights)
    expected.backward()
    assert loss == pytest.approx(float(expected.detach()), rel=1e-5)
    assert_equal_gradients(gradients, gradients_of(reference))
    assert 0.2 < figures["focus"] < 3.0


def test_equal_bounds_are_supervised_training(tmp_path: Path) -> None:
    trainee = made(tmp_path)
    method, units = units_of(trainee, {"kind": "uncertainty", "min_weight": 1.0, "max_weight": 1.0}, ROWS)
    plain, same = units_of(trainee, "supervised", ROWS)
    loss, gradients, _ = step(trainee, method, units)
    expected, reference, _ = step(trainee, plain, same)
    assert loss == pytest.approx(expected, rel=1e-6)
    assert_equal_gradients(gradients, reference, 1e-6)


def test_measuring_surprise_leaves_mode_and_random_state(tmp_path: Path) -> None:
    trainee = made(tmp_path)
    trainee.model.train()
    before = torch.random.get_rng_state()
    units_of(trainee, "uncertainty", ROWS)
    assert trainee.model.training
    assert torch.equal(torch.random.get_rng_state(), before)


def test_bounds_the_wrong_way_round_are_refused() -> None:
    with pytest.raises(ConfigError, match="min_weight is above max_weight"):
        METHODS.config({"kind": "uncertainty", "min_weight": 3.0})


def test_a_tiny_run_lowers_its_loss_and_its_surprise(tmp_path: Path) -> None:
    job = make_job(tmp_path, drills(8), steps=40, method="uncertainty", optimizer={"learning_rate": 5e-3})
    taken = [event for event in run(job) if isinstance(event, StepTaken)]
    assert taken[-1].loss < 0.5 * taken[0].loss
    assert taken[-1].figures["surprise"] < 0.5 * taken[0].figures["surprise"]
