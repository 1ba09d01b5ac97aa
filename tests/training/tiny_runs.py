"""Tiny runs, made on the spot: a blank model, rows and a recipe."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel, PreTrainedTokenizerFast

from realm.core.events import CheckpointStaged, Event, StepTaken
from realm.core.records import Example, Message
from realm.models.blank import BLANKS, SpecialIds
from realm.models.encodings import Encoded
from realm.models.files import save
from realm.models.tokenizer import train_tokenizer
from realm.training.batching import Unit, pack
from realm.training.engine import train
from realm.training.job import RowsFile, TrainJob
from realm.training.method import Method
from realm.training.recipe import Recipe
from realm.training.trainee import Trainee

torch.set_num_threads(1)

SHAPE = {
    "kind": "qwen3",
    "hidden_size": 32,
    "layers": 2,
    "heads": 4,
    "kv_heads": 2,
    "head_dim": 8,
    "intermediate_size": 48,
    "context_tokens": 256,
    "initializer_range": 0.15,
}


@cache
def tokenizer() -> PreTrainedTokenizerFast:
    return train_tokenizer(["Compute: add(⓪①, ①) = ①⓪", "the quick brown fox"] * 5, 320, ["⓪", "①"])


def qwen3(seed: int = 0) -> PreTrainedModel:
    special = SpecialIds(end=tokenizer().eos_token_id, pad=tokenizer().pad_token_id)
    return BLANKS.build(SHAPE).build(len(tokenizer()), special, seed)


def llama(seed: int = 0) -> PreTrainedModel:
    config = LlamaConfig(
        vocab_size=len(tokenizer()),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=256,
        initializer_range=0.15,
        tie_word_embeddings=False,
        bos_token_id=None,
        eos_token_id=tokenizer().eos_token_id,
        pad_token_id=tokenizer().pad_token_id,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return LlamaForCausalLM(config)


def chat(user: str, *answers: str) -> Example:
    turns = [Message(role="system", content="Be short.")]
    for answer in answers:
        turns += [Message(role="user", content=user), Message(role="assistant", content=answer)]
    return Example(messages=tuple(turns))


def drills(count: int, seed: int = 0) -> list[Example]:
    draw = random.Random(seed)
    return [
        chat("Compute: " + "".join(draw.choices("⓪①", k=draw.randint(1, 9))), draw.choice("⓪①") * 2)
        for _ in range(count)
    ]


def texts(count: int, seed: int = 0) -> list[Example]:
    draw = random.Random(seed)
    return [
        Example(text="the fox " + "".join(draw.choices("abc ", k=draw.randint(1, 20)))) for _ in range(count)
    ]


def make_start(folder: Path, model: PreTrainedModel | None = None) -> Path:
    folder.mkdir(parents=True)
    save(model or qwen3(), tokenizer(), folder)
    return folder


def trainee(model: PreTrainedModel) -> Trainee:
    """Return a model as methods see it, set up by whoever asks."""
    return Trainee(
        model=model,
        tokenizer=tokenizer(),
        device=torch.device("cpu"),
        seed=1,
        origin=Path("nowhere"),
        max_tokens=256,
    )


def loss_of(method: Method, model: PreTrainedModel, sequences: Sequence[Encoded]) -> torch.Tensor:
    """Return a method's whole loss of sequences that are a unit each, with gradients."""
    units = [Unit((sequence,)) for sequence in sequences]
    return method.loss(trainee(model), pack(units)).total / method.normaliser(units)


def make_recipe(**settings: Any) -> Recipe:
    """Return a tiny recipe; settings of rules may be given without their section."""
    sections = {name: settings.pop(name) for name in ("model", "where", "method") if name in settings}
    rules = {"batch_rows": 4, "steps": 10, "device": "cpu", "threads": 1, "saving": {"every_steps": 100}}
    # Not what this machine does well: what is compared must not depend on it.
    rules["precision"] = "fp32"
    if "epochs" in settings:
        del rules["steps"]
    return Recipe(**sections, rules={**rules, **settings})


def write_rows(path: Path, rows: Sequence[Example]) -> Path:
    path.write_text("".join(row.model_dump_json(exclude_defaults=True) + "\n" for row in rows), "utf-8")
    return path


def make_job(tmp_path: Path, rows: Sequence[Example], *, run: str = "run", **recipe: Any) -> TrainJob:
    start = tmp_path / "start"
    if not start.exists():
        make_start(start)
    return TrainJob(
        run=run,
        seed=1,
        start=str(start),
        origin=str(start),
        rows=(RowsFile(path=str(write_rows(tmp_path / "rows.jsonl", rows)), name="rows"),),
        recipe=make_recipe(**recipe),
        stages=str(tmp_path / "stages"),
        events=str(tmp_path / "events.jsonl"),
    )


def run(job: TrainJob, *, stop_after: int | None = None) -> list[Event]:
    """Train in this process; `stop_after` asks to stop once that step is taken."""
    events: list[Event] = []
    train(job, events.append, _stop(events, stop_after))
    return events


def _stop(events: list[Event], after: int | None) -> Callable[[], bool]:
    return lambda: any(isinstance(e, StepTaken) and e.step == after for e in events)


def stages(events: Sequence[Event]) -> list[CheckpointStaged]:
    return [event for event in events if isinstance(event, CheckpointStaged)]


def losses(events: Sequence[Event]) -> list[float]:
    return [event.loss for event in events if isinstance(event, StepTaken)]
