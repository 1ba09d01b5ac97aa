"""A model that several ranks share: loaded in turns, never whole on a device, proven as it is sharded."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from torch.nn.modules.module import register_module_forward_pre_hook
from transformers import PreTrainedModel

from realm.core.events import Event, MaskingProven, ignore
from realm.training.loading import load_trainee
from realm.training.parameter import PARAMETERS
from realm.training.recipe import Recipe
from realm.training.trainer import Trainer
from realm.training.world import Alone
from tiny_shapes import model as tiny
from training.tiny_ranks import Runs, stage_at
from training.tiny_runs import drills, llama, losses, make_job

# Of PEFT (0.21), which still asks transformers by the old name.
pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")

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
    found, _ = load_trainee(job, Path(job.start), chosen, ELSEWHERE, world)
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
