"""Answers to prompts of unequal lengths, written together."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel

from realm.training.rollouts import Rollout, Sampling, sample
from realm.training.trainee import Trainee
from tiny_shapes import SHAPES, model, tokenizer

CONTEXT = 128
LENGTHS = (3, 9, 5, 17, 9, 1, 12, CONTEXT - 4)
ANSWERS = 3


def _trainee(shape: str) -> Trainee:
    return Trainee(
        model=model(shape),
        tokenizer=tokenizer(),
        device=torch.device("cpu"),
        seed=1,
        origin=Path("nowhere"),
        max_tokens=CONTEXT,
    )


def _prompts(lengths: tuple[int, ...]) -> list[NDArray[np.int32]]:
    draw = np.random.default_rng(0)
    return [draw.integers(0, len(tokenizer()), length).astype(np.int32) for length in lengths]


def _seeds(prompts: int) -> list[list[int]]:
    return [[10 * p + answer for answer in range(ANSWERS)] for p in range(prompts)]


def _flat(groups: list[list[Rollout]]) -> list[Rollout]:
    return [rollout for group in groups for rollout in group]


@contextmanager
def _passes(made: PreTrainedModel) -> Iterator[list[int]]:
    """Note the places of every forward pass."""
    sizes: list[int] = []
    hook = made.register_forward_pre_hook(
        lambda _, __, given: sizes.append(given["input_ids"].numel()), with_kwargs=True
    )
    try:
        yield sizes
    finally:
        hook.remove()


@pytest.mark.filterwarnings("ignore")  # slow kernels of linear attention are told of
@pytest.mark.parametrize("shape", SHAPES)
def test_prompts_of_unequal_lengths_have_the_answers_that_each_has_alone(shape: str) -> None:
    trainee, sampling = _trainee(shape), Sampling(max_tokens=20, temperature=0.9, top_p=0.95)
    prompts, seeds = _prompts(LENGTHS), _seeds(len(LENGTHS))
    together = _flat(sample(trainee, prompts, seeds, sampling))
    alone = [
        rollout
        for prompt, own in zip(prompts, seeds, strict=True)
        for rollout in sample(trainee, [prompt], [own], sampling)[0]
    ]
    for found, expected in zip(together, alone, strict=True):
        assert list(found.ids) == list(expected.ids)
        assert found.ended == expected.ended
        assert np.allclose(found.log_probs, expected.log_probs, atol=1e-5)
    assert max(len(rollout.ids) for rollout in together[-ANSWERS:]) <= 4, "as long as the context has room"
    assert len({len(rollout.ids) for rollout in together}) > 1


def test_prompts_of_similar_length_share_their_passes() -> None:
    trainee, sampling = _trainee("qwen3"), Sampling(max_tokens=6, temperature=1.0, top_p=1.0)
    prompts = _prompts((9, 10, 11, 12))
    with _passes(trainee.model) as sizes:
        sample(trainee, prompts, _seeds(4), sampling)
    assert sizes[0] == 4 * 12
    assert len(sizes) <= 6


def test_a_short_prompt_is_not_filled_up_to_a_long_one() -> None:
    trainee, sampling = _trainee("qwen3"), Sampling(max_tokens=2, temperature=1.0, top_p=1.0)
    with _passes(trainee.model) as sizes:
        sample(trainee, _prompts((100, 5, 90, 6)), _seeds(4), sampling)
    prompts_read = [size for size in sizes if size > 2 * ANSWERS]
    assert prompts_read == [2 * 6, 2 * 100]


@pytest.mark.filterwarnings("ignore")
def test_a_recurrent_model_reads_no_filled_places() -> None:
    trainee, sampling = _trainee("qwen3_next"), Sampling(max_tokens=1, temperature=1.0, top_p=1.0)
    with _passes(trainee.model) as sizes:
        sample(trainee, _prompts((9, 10, 9)), _seeds(3), sampling)
    assert sizes == [18, 10]
