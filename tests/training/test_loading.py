"""In which format and on which device a run holds its model."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tiny_runs import drills, losses, make_job, make_recipe, make_start, qwen3, run, stages

from realm.core.errors import RefusedError
from realm.core.events import Event, RunStarted
from realm.core.records import ArtifactKind
from realm.models.adapters import base_of, merge_adapter, read_shape, state_to_save
from realm.models.files import load
from realm.storage.store import Store
from realm.training import loading
from realm.training.distributed import Replicated, Sharded
from realm.training.job import TrainJob
from realm.training.loading import device_of
from realm.training.precision import choose
from realm.training.trainer import Trainer
from realm.training.world import Alone, World

# Of PEFT (0.21), which still asks transformers by the old name.
pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")

LORA = {"kind": "lora", "rank": 4}
FREEZE = {"kind": "full", "freeze": ["embed_tokens", "layers.0.self_attn"]}


def prepared(tmp_path: Path, **recipe: Any) -> Trainer:
    trainer = Trainer(make_job(tmp_path, drills(8), **recipe), lambda _: None)
    trainer.prepare()
    return trainer


def whole(folder: str | Path) -> dict[str, torch.Tensor]:
    return load_file(Path(folder) / "model.safetensors")


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_what_is_frozen_of_a_whole_model_keeps_its_bytes(tmp_path: Path, precision: str) -> None:
    job = make_job(tmp_path, drills(8), parameters=FREEZE, precision=precision, steps=2)
    before, after = whole(job.start), whole(stages(run(job))[-1].stage)
    still = {name for name in before if torch.equal(before[name], after[name])}
    frozen = {name for name in before if "embed_tokens" in name or "layers.0.self_attn" in name}
    assert still == frozen
    assert {weight.dtype for weight in after.values()} == {torch.float32}


def test_fp32_makes_weights_of_16_bit_files_fp32_so_that_small_steps_count(tmp_path: Path) -> None:
    make_start(tmp_path / "start", qwen3().to(torch.bfloat16))
    job = make_job(tmp_path, drills(8), steps=3, optimizer={"kind": "adamw", "learning_rate": 1e-6})
    stage = stages(run(job))[-1].stage
    before, after = whole(job.start), whole(stage)
    assert {weight.dtype for weight in before.values()} == {torch.bfloat16}
    assert {weight.dtype for weight in after.values()} == {torch.float32}
    moved = sum(int((after[name] != before[name].float()).sum()) for name in before)
    assert moved > 0.9 * sum(weight.numel() for weight in before.values())
    assert load(Path(stage)).model.dtype is torch.float32


def test_beside_an_adapter_in_bf16_the_base_is_held_in_bf16(tmp_path: Path) -> None:
    trainer = prepared(tmp_path, parameters=LORA, precision="bf16")
    held = {(parameter.requires_grad, parameter.dtype) for parameter in trainer.model.parameters()}
    assert held == {(True, torch.float32), (False, torch.bfloat16)}
    assert "forward" in base_of(trainer.model).model.__dict__, "the fast way is not taken"


def test_an_adapter_learns_the_same_beside_a_base_held_in_bf16(tmp_path: Path) -> None:
    rules = {"parameters": LORA, "steps": 6, "optimizer": {"kind": "adamw", "learning_rate": 1e-2}}
    base = "sha256:" + "0" * 64
    exact, rounded = (
        losses(run(make_job(tmp_path, drills(24), precision=each, **rules).model_copy(update={"base": base})))
        for each in ("fp32", "bf16")
    )
    assert exact != rounded
    assert rounded == pytest.approx(exact, rel=0.01)
    assert exact[-1] < 0.9 * exact[0]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_said_before_anything_is_loaded() -> None:
    assert device_of("auto") == device_of("cpu") == torch.device("cpu")
    with pytest.raises(RefusedError, match="finds no GPU here"):
        device_of("cuda")


def precision_told(tmp_path: Path, world: World | None = None, **recipe: Any) -> str:
    told: list[Event] = []
    Trainer(make_job(tmp_path, drills(8), **recipe), told.append, world).prepare()
    return next(event.precision for event in told if isinstance(event, RunStarted))


@pytest.fixture
def rounding_cpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    facts = tmp_path / "cpuinfo"
    facts.write_text("flags : fpu avx512_bf16\n")
    monkeypatch.setattr(loading, "choose", partial(choose, cpu_facts=facts))


@pytest.mark.usefixtures("rounding_cpu")
@pytest.mark.parametrize(
    ("recipe", "precision"),
    [
        ({}, "bfloat16"),
        ({"parameters": LORA}, "bfloat16"),
        ({"precision": "fp32"}, "float32"),
        ({"parameters": {**LORA, "dora": True}}, "float32"),
        ({"parameters": {**LORA, "dora": True}, "precision": "bf16"}, "bfloat16"),
        ({"memory": {"recompute_layers": 1}}, "float32"),
    ],
)
def test_on_a_cpu_auto_rounds_only_what_the_fast_way_computes(
    tmp_path: Path, recipe: dict[str, Any], precision: str
) -> None:
    assert precision_told(tmp_path, **{"precision": "auto", **recipe}) == precision


class OfShares(Alone):
    """A world whose processes hold a share of the model each, as far as its precision is chosen by that."""

    whole = False


@pytest.mark.usefixtures("rounding_cpu")
def test_on_a_cpu_auto_does_not_round_where_the_model_is_shared_out(tmp_path: Path) -> None:
    """The fast way, which alone rounds well, reads whole weights."""
    assert (Replicated.whole, Sharded.whole) == (True, False)
    assert precision_told(tmp_path, OfShares(), precision="auto") == "float32"
    assert precision_told(tmp_path, OfShares(), precision="bf16") == "bfloat16"


@pytest.mark.usefixtures("rounding_cpu")
def test_on_a_cpu_weights_of_16_bit_files_are_trained_in_fp32(tmp_path: Path) -> None:
    make_start(tmp_path / "start", qwen3().to(torch.bfloat16))
    trainer = prepared(tmp_path, precision="auto")
    assert {parameter.dtype for parameter in trainer.model.parameters()} == {torch.float32}
    assert precision_told(tmp_path, precision="auto") == "bfloat16"
    assert "forward" in trainer.model.model.__dict__, "the fast way is not taken"


# --- an adapter below ----------------------------------------------------------------------------


def _after_an_adapter(tmp_path: Path, **lora: Any) -> TrainJob:
    """Return a job that begins from a run's adapter, itself to train one with these settings beside LORA."""
    store = Store(tmp_path / "vault")

    def put(folder: str | Path) -> str:
        return store.publish(Path(folder), ArtifactKind.CHECKPOINT, lambda ref: ref.hash)

    def at(content: str) -> str:
        return str(store.path(ArtifactKind.CHECKPOINT, content))

    first = make_job(tmp_path, drills(8), steps=2, parameters=LORA, optimizer={"learning_rate": 5e-2})
    base = put(first.start)
    adapter = put(stages(run(first.model_copy(update={"base": base, "start": at(base)})))[-1].stage)
    recipe = make_recipe(parameters={**LORA, **lora}, steps=1)
    return first.model_copy(
        update={
            **{"run": "next", "base": base, "start": at(adapter), "origin": at(adapter), "recipe": recipe},
            "stages": str(tmp_path / "next"),
        }
    )


@pytest.mark.parametrize(
    "other",
    [
        {"targets": ["q_proj", "v_proj"]},
        {"targets": ["self_attn.*", "mlp.*", "*.layers.0.*"], "alpha": 8},
        {"rank": 2},
        {"alpha": 8},
        {"rank_stabilised": True},
        {"dora": True},
    ],
    ids=str,
)
def test_an_adapter_of_another_kind_is_merged_and_a_fresh_one_begun(
    tmp_path: Path, other: dict[str, Any]
) -> None:
    job = _after_an_adapter(tmp_path, **other)
    trainer = Trainer(job, lambda _: None)
    trainer.prepare()
    assert not trainer._optimizer.state, "the moments of the adapter that was merged are carried on"
    assert all(not w.any() for name, w in trainer.model.named_parameters() if ".lora_B." in name)
    found, merged = merge_adapter(trainer.model).state_dict(), load(Path(job.start)).model.state_dict()
    before = load(_below(job)).model.state_dict()
    assert found.keys() == merged.keys()
    for name, weight in merged.items():
        torch.testing.assert_close(found[name], weight, msg=name)
    assert any(not torch.equal(before[name], merged[name]) for name in merged)


@pytest.mark.parametrize(
    "same",
    [{}, {"dropout": 0.5}, {"targets": ["self_attn.?_proj", "mlp.*_proj"]}],
    ids=["same", "dropout", "the same layers in other words"],
)
def test_the_adapter_is_gone_on_with_under_the_dropout_that_holds_now(
    tmp_path: Path, same: dict[str, Any]
) -> None:
    job = _after_an_adapter(tmp_path, **same)
    trainer = Trainer(job, lambda _: None)
    trainer.prepare()
    assert trainer._optimizer.state
    before, found = load(Path(job.start), merge=False).model, trainer.model
    assert state_to_save(found).keys() == state_to_save(before).keys()
    for name, weight in state_to_save(before).items():
        assert torch.equal(weight, state_to_save(found)[name]), name
    share = same.get("dropout", 0.0)
    shares = {each.p for each in found.modules() if isinstance(each, torch.nn.Dropout)}
    assert shares == ({share} if share else set())
    assert read_shape(Path(stages(run(job))[-1].stage)).lora_dropout == share


def _below(job: TrainJob) -> Path:
    assert job.base is not None
    return Path(job.start).parent / job.base.removeprefix("sha256:")
