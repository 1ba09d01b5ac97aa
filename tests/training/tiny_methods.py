"""What tests of methods share: a trainee on disk, rows, and a step cut into packs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tiny_runs import make_start, qwen3, tokenizer
from transformers import PreTrainedModel

from realm.core.records import Example, Message
from realm.models.adapters import base_of
from realm.models.chat import encode_many, prompt_ids
from realm.models.encodings import Encoded
from realm.training.attention import use_packed
from realm.training.batching import Unit, best_fit, pack
from realm.training.method import METHODS, Method, Row
from realm.training.trainee import Trainee
from realm.training.trimming import trim_last_layer

Gradients = dict[str, torch.Tensor]

GRPO = {
    "kind": "grpo",
    "rewards": [{"reward": {"kind": "python", "function": "training_rewards:ones"}}],
    "group_size": 3,
    "max_answer_tokens": 4,
    "truncated": "penalised",
    "truncated_reward": -1.0,
    "kl_weight": 0.1,
}


def turns(*contents: str) -> tuple[Message, ...]:
    """Return a chat of user and assistant in turn."""
    roles = ("user", "assistant")
    return tuple(Message(role=roles[i % 2], content=content) for i, content in enumerate(contents))


def preference(prompt: str, better: str, worse: str, **settings: Any) -> Example:
    return Example(messages=turns(prompt, better), rejected=turns(prompt, worse), **settings)


def correction(kind: str, proposal: str, reply: str, **settings: Any) -> Example:
    asked = f"Compute: add(①, ①)\n\n---\n\nProposed answer:\n{proposal}\n\nIs this right?"
    return Example(messages=turns(asked, reply), tags={"type": kind}, **settings)


PREFERENCES = [
    preference("the quick", "brown fox", "fox"),
    preference("Compute: ①", "①", "⓪⓪⓪", weight=2.0),
    preference("add", "①①①①", "the fox"),
    preference("a b c", "quick", "brown brown brown"),
]
CORRECTIONS = [
    correction("identify_incorrect", "①", "wrong"),
    correction("correction", "①", "①⓪", expected="①⓪"),
    correction("confirm_correct", "①⓪", "right", expected="①⓪"),
    correction("correction", "⓪\n⓪", "add = ①⓪", weight=0.5),
]


def made(
    tmp_path: Path, model: PreTrainedModel | None = None, origin: PreTrainedModel | None = None
) -> Trainee:
    """Return a trainee in packs whose run began with `origin`."""
    folder = tmp_path / "origin"
    if not folder.exists():
        make_start(folder, qwen3(1))
    found = model or qwen3(0)
    use_packed(base_of(found))
    trim_last_layer(base_of(found))
    return Trainee(
        model=found,
        tokenizer=tokenizer(),
        device=torch.device("cpu"),
        seed=1,
        origin=folder,
        max_tokens=256,
    )


def rows_of(method: Method, examples: Sequence[Example]) -> list[Row]:
    """Return rows as the engine makes them."""
    rows = []
    for index, example in enumerate(examples):
        parts = method.sequences(example)
        if method.generates:
            found = [_prompt(ids) for ids in prompt_ids(tokenizer(), [part.messages for part in parts])]
        else:
            found = encode_many(tokenizer(), parts, 256)
        rows.append(Row(index, example, tuple(found), str(index + 1)))
    return rows


def _prompt(ids: Sequence[int]) -> Encoded:
    return Encoded(np.asarray(ids, np.int32), np.zeros(len(ids), np.float32), 0, len(ids))


def units_of(trainee: Trainee, config: Any, examples: Sequence[Example]) -> tuple[Method, list[Unit]]:
    method = METHODS.build(config)
    method.begin(trainee)
    return method, method.units(trainee, 0, rows_of(method, examples))


def step(
    trainee: Trainee, method: Method, units: Sequence[Unit], max_tokens: int | None = None
) -> tuple[float, Gradients, dict[str, float]]:
    """Return the loss, gradients and figures of a step as the engine computes them."""
    trainee.model.zero_grad(set_to_none=True)
    whole, total = method.normaliser(units), 0.0
    figures = dict[str, float]()
    for members in best_fit(units, max_tokens):
        part = method.loss(trainee, pack(members))
        (part.total / whole).backward()
        total += float(part.total.detach())
        for name, value in part.figures.items():
            figures[name] = figures.get(name, 0.0) + value
    gradients = {
        name: parameter.grad.clone()
        for name, parameter in trainee.model.named_parameters()
        if parameter.grad is not None
    }
    return total / whole, gradients, {name: value / len(units) for name, value in figures.items()}


def assert_equal_gradients(found: Gradients, expected: Gradients, tolerance: float = 1e-5) -> None:
    assert found.keys() == expected.keys()
    assert found
    for name, gradient in expected.items():
        difference = (found[name] - gradient).norm() / gradient.norm().clamp(min=1e-12)
        assert difference < tolerance, (name, float(difference))


def gradients_of(model: PreTrainedModel) -> Gradients:
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
