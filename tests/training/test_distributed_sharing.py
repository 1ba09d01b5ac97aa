"""What ranks share: answers, grades, validation; and a model, loaded in turns, never whole on a device."""

from __future__ import annotations

import json
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from distributed_entries import validated
from peft import PeftModel
from safetensors.torch import load_file
from torch.nn.modules.module import register_module_forward_pre_hook
from transformers import PreTrainedModel

from realm.core.events import Event, MaskingProven, StepTaken, ignore
from realm.core.records import Example
from realm.training.agent import cause
from realm.training.loading import load_trainee
from realm.training.parameter import PARAMETERS
from realm.training.recipe import Recipe
from realm.training.trainer import Trainer
from realm.training.world import Alone
from tiny_shapes import model as tiny
from training.tiny_ranks import Runs, stage_at
from training.tiny_runs import drills, llama, losses, make_job, qwen3, tokenizer

# Of PEFT (0.21), which still asks transformers by the old name.
pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")

GROUP, PROVEN = 3, 2
"""Answers to a prompt; answers to two prompts that every rank draws before the first step."""


def brief() -> PreTrainedModel:
    """Return a model that ends an answer with every eighth token, so that lengths differ."""
    model = qwen3()
    model.generation_config.eos_token_id = list(range(0, len(tokenizer()), 8))
    return model


def grpo(function: str) -> dict[str, Any]:
    return {
        "kind": "grpo",
        "rewards": [{"reward": {"kind": "python", "function": f"training_rewards:{function}"}}],
        "group_size": GROUP,
        "max_answer_tokens": 12,
    }


def tagged(count: int, tag: str) -> list[Example]:
    return [row.model_copy(update={"tags": {"graded": tag}}) for row in drills(count)]


def figures(events: list[Event]) -> list[dict[str, float]]:
    return [event.figures for event in events if isinstance(event, StepTaken)]


@pytest.mark.parametrize(
    ("strategy", "ranks", "shares"),
    [("ddp", 2, (4, 7)), ("fsdp2", 2, (4, 7)), ("ddp", 3, (2, 4, 5)), ("fsdp2", 3, (2, 4, 5))],
)
def test_each_answer_is_drawn_and_graded_by_one_rank(
    runs: Runs, strategy: str, ranks: int, shares: tuple[int, ...]
) -> None:
    """Steps of 5, 5 and one prompt: never as many for every rank, and none for some."""
    graded = runs.folder / "graded"
    job = runs.job(
        model=brief(), rows=tagged(11, str(graded)), method=grpo("noted"), steps=3, saving={"every_steps": 3}
    )
    alone, one = runs.alone(job), notes(graded)
    together, shared = runs.together(job, ranks, strategy), notes(graded, ranks)
    assert Counter(answer for answers in shared.values() for answer in answers) == Counter(one["0"])
    assert {rank: len(answers) for rank, answers in shared.items()} == {
        str(rank): GROUP * share for rank, share in enumerate(shares)
    }
    assert losses(together) == pytest.approx(losses(alone), abs=1e-5)
    assert any(abs(loss) > 1e-3 for loss in losses(alone))
    for found, expected in zip(figures(together), figures(alone), strict=True):
        assert found == pytest.approx(expected, abs=1e-5)
    mine, theirs = (load_file(stage_at(events, 3) / "model.safetensors") for events in (alone, together))
    for name, value in mine.items():
        torch.testing.assert_close(theirs[name], value, atol=1e-4, rtol=1e-3)


def notes(graded: Path, ranks: int = 1) -> dict[str, list[str]]:
    """Take what every rank noted of the answers that it graded, but for those before the first step.

    The answers to two prompts prove the masking; they are shared as those of a step are.
    """
    found: dict[str, list[str]] = {}
    for line in graded.read_text().splitlines():
        rank, _, answer = line.partition(" ")
        found.setdefault(rank, []).append(answer)
    graded.unlink()
    proven = [PROVEN * rank // ranks for rank in range(ranks + 1)]
    return {
        rank: answers[GROUP * (proven[int(rank) + 1] - proven[int(rank)]) :]
        for rank, answers in found.items()
    }


def test_answers_go_on_bit_by_bit_and_with_other_ranks(runs: Runs) -> None:
    """An adapter, compared with the model below it: passes that take turns with those that are shared."""
    job = runs.job(
        model=brief(),
        parameters={"kind": "lora", "rank": 4, "alpha": 8},
        method={**grpo("letters"), "kl_weight": 0.1},
        steps=3,
        saving={"every_steps": 1},
    )
    whole = runs.together(job, 2, "fsdp2")
    after = job.model_copy(update={"start": str(stage_at(whole, 1))})
    rest = runs.together(after, 2, "fsdp2")
    assert losses(rest) == losses(whole)[1:]
    for name in ("adapter_model.safetensors", "optimizer.safetensors"):
        assert (stage_at(rest, 3) / name).read_bytes() == (stage_at(whole, 3) / name).read_bytes()
    assert losses(runs.together(after, 3, "ddp")) == pytest.approx(losses(whole)[1:], abs=1e-5)


@pytest.mark.parametrize("strategy", ["ddp", "fsdp2"])
def test_a_grade_that_is_refused_on_one_rank_ends_the_others(runs: Runs, strategy: str) -> None:
    rows = [*tagged(3, "well"), *tagged(1, "never")]
    job = runs.job(model=brief(), rows=rows, method=grpo("refusing"), batch_rows=4, order="given", steps=1)
    _, told = runs.ended(job, 2, strategy)
    found = cause("run", 2, told, dict.fromkeys(told, 1))
    assert (found.error, found.what) == ("RefusedError", "rank 1 of 2: row 4: this row is not graded")
    assert told[0].error != "RefusedError"


@pytest.mark.parametrize("ranks", [2, 3])
@pytest.mark.parametrize("strategy", ["ddp", "fsdp2"])
def test_rows_held_out_are_measured_by_one_rank_each(runs: Runs, strategy: str, ranks: int) -> None:
    """Sets of 7 rows and of one: some rank has none of a set."""
    found = [json.loads(path.read_text()) for path in runs.launch("validate", runs.job(), ranks, strategy)]
    alone = validated(qwen3(), Alone())
    assert all(each["losses"] == found[0]["losses"] for each in found)
    assert found[0]["losses"] == pytest.approx(alone["losses"], abs=1e-6)
    # A pass of one token is computed for nothing, since others wait for it.
    read = [sum(size for size in each["sizes"] if size > 1) for each in found]
    assert sum(read) == sum(alone["sizes"])
    assert max(read) < 0.7 * sum(read)
    if strategy == "fsdp2":
        assert len({len(each["sizes"]) for each in found}) == 1


# --- a model that they share --------------------------------------------------------

ELSEWHERE = torch.device("meta")
DORA = {"kind": "lora", "rank": 4, "alpha": 8, "dora": True}


class Taking(Alone):
    """Notes where a model lies before it is taken to the device, and what was computed until then."""

    def __init__(self, device: torch.device | None = None) -> None:
        super().__init__(device)
        self.before: set[str] = set()
        self.passes: list[str] = []
        self.passes_before = -1

    def enter(self, model: PreTrainedModel | PeftModel) -> PreTrainedModel | PeftModel:
        self.before = {tensor.device.type for tensor in [*model.parameters(), *model.buffers()]}
        self.passes_before = len(self.passes)
        return super().enter(model)


@pytest.mark.parametrize("parameters", [{"kind": "full"}, DORA], ids=["full", "dora"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_model_stays_where_it_was_loaded_until_the_world_takes_it(
    tmp_path: Path, parameters: Any, precision: str
) -> None:
    job = make_job(tmp_path, drills(8), parameters=parameters, precision=precision)
    world, chosen = Taking(ELSEWHERE), PARAMETERS.build(job.recipe.rules.parameters)
    found = load_trainee(job, Path(job.start), chosen, ELSEWHERE, world).trainee
    assert world.before == {"cpu"}
    assert {parameter.device for parameter in found.model.parameters()} == {ELSEWHERE}


def test_nothing_is_computed_before_the_world_has_taken_the_model(tmp_path: Path) -> None:
    """Else a model that only fits in shares would be computed whole."""
    world = Taking()
    hook = register_module_forward_pre_hook(lambda module, _: world.passes.append(type(module).__name__))
    try:
        Trainer(make_job(tmp_path, drills(8), parameters=DORA), ignore, world).prepare()
    finally:
        hook.remove()
    assert world.passes_before == 0
    assert world.passes, "the masking is proven by computing"


def test_ranks_that_share_a_model_load_it_one_after_another(runs: Runs) -> None:
    told = [json.loads(path.read_text()) for path in runs.launch("load_slowly", runs.job(), 3, "fsdp2")]
    turns = sorted((turn["began"], turn["ended"]) for turn in told)
    assert all(ended < began for (_, ended), (began, _) in pairwise(turns))
    assert [turn["began"] for turn in told] == sorted(turn["began"] for turn in told)


def _proven(events: list[Event]) -> MaskingProven:
    return next(event for event in events if isinstance(event, MaskingProven))


def _kinds(checks: tuple[str, ...]) -> list[str]:
    return [check.split(":")[0] for check in checks]


@pytest.mark.parametrize("shape", ["llama", "qwen3_next"])
def test_a_sharded_model_is_proven_as_a_whole_one_is(runs: Runs, shape: str) -> None:
    """Rows share packs in the one model and cannot in the other, which only computing shows."""
    job = runs.job(model=llama() if shape == "llama" else tiny(shape), steps=2)
    alone, together = runs.alone(job), runs.together(job, 2, "fsdp2")
    assert _kinds(_proven(together).checks) == _kinds(_proven(alone).checks)
    assert _proven(together).packed == _proven(alone).packed == (shape == "llama")
    assert losses(together) == pytest.approx(losses(alone), abs=1e-4)


def test_the_shipped_recipe_for_eight_gpus_trains_a_small_model_of_its_kind(runs: Runs) -> None:
    """By two processes of the CPU, with the same result as by one."""
    shipped = Recipe.shipped("80b-a3b-dora-8xh100").rules.model_dump(mode="json")
    rules = {name: shipped[name] for name in ("precision", "memory", "schedule", "clip_norm")}
    rules["parameters"] = {**shipped["parameters"], "rank": 4}
    rules |= {"batch_rows": 4, "steps": 3, "optimizer": {"kind": "adamw", "learning_rate": 1e-2}}
    model = tiny("qwen3_next").to(torch.bfloat16)
    job = runs.job(model=model, rows=drills(9), saving={"every_steps": 3}, **rules)
    alone, together = runs.alone(job), runs.together(job, 2, "fsdp2")
    assert losses(together) == pytest.approx(losses(alone), rel=1e-3)  # sums in bf16, in another order
    mine, theirs = (
        load_file(stage_at(events, 3) / "adapter_model.safetensors") for events in (alone, together)
    )
    assert mine.keys() == theirs.keys()
    for name, value in mine.items():
        torch.testing.assert_close(theirs[name], value, atol=2e-2, rtol=2e-2)
