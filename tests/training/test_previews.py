from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_runs import make_start, qwen3, tokenizer

from realm.core.errors import ConfigError
from realm.core.events import Failed, PreviewWritten
from realm.jobs.tail import EventTail
from realm.models.engines.transformers import Transformers
from realm.models.files import Loaded, load
from realm.training.previews import PreviewJob, Previews, ask, main, preview, refuse_long, source

PREVIEWS = Previews(prompts=("Compute: ⓪①", "the quick"), max_tokens=6)
SAMPLED = PREVIEWS.model_copy(update={"temperature": 1.5})


def _train(previews: Previews | None, steps: int = 4) -> Any:
    """Train a model with dropout, one part of it out of training mode, with previews or without."""
    model = qwen3()
    for layer in model.model.layers:
        layer.self_attn.attention_dropout = 0.3
    model.train()
    model.model.layers[0].eval()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    torch.manual_seed(0)
    ids = torch.arange(20).view(2, 10) + 5
    for _ in range(steps):
        optimizer.zero_grad()
        model(input_ids=ids, labels=ids).loss.backward()
        if previews is not None:
            preview(model, tokenizer(), previews, seed=3)
        optimizer.step()
    return model


@pytest.mark.parametrize("previews", [PREVIEWS, SAMPLED], ids=["greedy", "sampled"])
def test_training_with_previews_ends_with_the_same_bits(previews: Previews) -> None:
    without, beside = _train(None), _train(previews)
    for (name, a), b in zip(without.named_parameters(), beside.parameters(), strict=True):
        assert torch.equal(a, b), name


def test_modes_gradients_and_random_state_are_as_before() -> None:
    model = _train(None, steps=1)
    modes = {name: module.training for name, module in model.named_modules()}
    assert len(set(modes.values())) == 2
    gradients = [p.grad.clone() for p in model.parameters() if p.grad is not None]
    state = torch.get_rng_state()
    preview(model, tokenizer(), SAMPLED, seed=1)
    assert {name: module.training for name, module in model.named_modules()} == modes
    assert torch.equal(torch.get_rng_state(), state)
    after = [p.grad for p in model.parameters() if p.grad is not None]
    assert all(torch.equal(a, b) for a, b in zip(gradients, after, strict=True))


def test_modes_come_back_when_generation_fails() -> None:
    model = qwen3().train()
    long = Previews(prompts=("x" * 2000,))
    with pytest.raises(Exception, match="no room"):
        preview(model, tokenizer(), long, seed=0)
    assert model.training
    assert all(module.training for module in model.modules())


def test_a_preview_says_what_the_model_would_say_alone() -> None:
    model = _train(None)
    samples, made_by = preview(model, tokenizer(), PREVIEWS, seed=0)
    assert [prompt for prompt, _ in samples] == list(PREVIEWS.prompts)
    assert samples == ask(Transformers(Loaded(model.eval(), tokenizer())), PREVIEWS, seed=0)
    assert made_by.startswith("transformers ")
    assert made_by.endswith(", float32, cpu")


def test_sampled_previews_draw_alike_every_time() -> None:
    model = qwen3()
    first, again, other = (preview(model, tokenizer(), SAMPLED, seed=seed)[0] for seed in (1, 1, 2))
    assert first == again != other


def test_when_previews_are_due() -> None:
    every = Previews(prompts=("a",), every_steps=10)
    assert [step for step in range(1, 31) if every.due(step)] == [10, 20, 30]
    assert not any(Previews(every_steps=10).due(step) for step in range(1, 31))
    with pytest.raises(ValueError, match="needs an endpoint"):
        Previews(made_by="endpoint")
    elsewhere = every.model_copy(update={"made_by": "checkpoint"})
    assert not any(elsewhere.due(step) for step in range(1, 31))


def test_a_prompt_that_leaves_no_room_is_refused_before_the_run() -> None:
    refuse_long(PREVIEWS, tokenizer(), 256)
    refuse_long(Previews(), tokenizer(), 256)
    with pytest.raises(ConfigError, match="has 2003 tokens"):
        refuse_long(Previews(prompts=("hi", "z" * 2000)), tokenizer(), 256)


def _job(tmp_path: Path, folder: Path) -> Path:
    job = PreviewJob(
        run="r1",
        step=7,
        folder=str(folder),
        previews=PREVIEWS.model_copy(update={"made_by": "checkpoint"}),
        seed=0,
        events=str(tmp_path / "previews.jsonl"),
    )
    path = tmp_path / "preview.json"
    path.write_text(job.model_dump_json())
    return path


def test_a_checkpoint_answers_in_a_process_of_its_own(tmp_path: Path) -> None:
    folder = make_start(tmp_path / "checkpoint", _train(None))
    assert main(_job(tmp_path, folder)) == 0
    (event,) = EventTail(tmp_path / "previews.jsonl").read()
    generator = Transformers(load(folder))
    assert event.at
    assert event.model_copy(update={"at": ""}) == PreviewWritten(
        run="r1", step=7, samples=ask(generator, PREVIEWS, seed=0), source=source(generator)
    )


def test_a_checkpoint_that_does_not_load_is_told(tmp_path: Path) -> None:
    assert main(_job(tmp_path, tmp_path / "absent")) == 1
    (event,) = EventTail(tmp_path / "previews.jsonl").read()
    assert isinstance(event, Failed)
    assert (event.run, event.error) == ("r1", "NotFoundError")
