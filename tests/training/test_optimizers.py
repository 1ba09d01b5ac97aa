from __future__ import annotations

from copy import deepcopy
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from realm.core.errors import ConfigError, CorruptError, MissingExtraError, RefusedError
from realm.training.offload import HostAdamW
from realm.training.optimizer import OPTIMIZERS
from realm.training.parameter import PARAMETERS
from realm.training.state import OPTIMIZER, moments, read_optimizer, write_moments
from tiny_shapes import loss, model, tokens

HERE: list[dict[str, Any]] = [{"kind": "adamw"}, {"kind": "adamw", "offload": True}, {"kind": "muon"}]
if find_spec("bitsandbytes"):
    HERE.append({"kind": "adamw8bit"})


def trainee(kind: str = "full") -> Any:
    return PARAMETERS.build(kind).apply(model("qwen3"), 0)


def steps(made: Any, optimizer: torch.optim.Optimizer, places: range) -> None:
    for place in places:
        for group in optimizer.param_groups:
            group["lr"] = group["base_lr"] * (1 - place / 10)
        optimizer.zero_grad(set_to_none=True)
        loss(made, tokens(place)).backward()
        optimizer.step()


def weights(made: torch.nn.Module) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in made.parameters()])


@pytest.mark.parametrize("settings", HERE, ids=str)
@pytest.mark.parametrize("kind", ["full", "lora"])
def test_stopping_and_going_on_changes_no_bit(settings: dict[str, Any], kind: str, tmp_path: Path) -> None:
    if (settings["kind"], kind) == ("muon", "lora"):
        pytest.skip("refused, see below")
    through, halted = trainee(kind), trainee(kind)
    steps(through, OPTIMIZERS.build(settings).build(through), range(6))
    first = OPTIMIZERS.build(settings).build(halted)
    steps(halted, first, range(3))
    write_moments(moments(first, halted), tmp_path)
    again = trainee(kind)
    again.load_state_dict(halted.state_dict())
    second = OPTIMIZERS.build(settings).build(again)
    kept = weights(again).clone()
    assert read_optimizer(second, again, tmp_path)
    assert torch.equal(weights(again), kept)
    assert all(parameter.grad is None for parameter in again.parameters())
    steps(again, second, range(3, 6))
    assert torch.equal(weights(again), weights(through))
    assert not torch.equal(weights(again), kept)


@pytest.mark.parametrize("settings", HERE, ids=str)
def test_every_trained_parameter_has_one_group_and_its_full_rate(settings: dict[str, Any]) -> None:
    made = trainee()
    optimizer = OPTIMIZERS.build({**settings, "learning_rate": 3e-3}).build(made)
    members = [id(p) for group in optimizer.param_groups for p in group["params"]]
    assert sorted(members) == sorted(id(p) for p in made.parameters())
    assert optimizer.param_groups[0]["base_lr"] == 3e-3
    assert all(group["lr"] == group["base_lr"] for group in optimizer.param_groups)


@pytest.mark.parametrize("settings", HERE, ids=str)
def test_it_lowers_the_loss(settings: dict[str, Any]) -> None:
    made, seen = trainee(), tokens(0)
    optimizer = OPTIMIZERS.build(settings).build(made)
    before = float(loss(made, seen).detach())
    for _ in range(8):
        optimizer.zero_grad()
        loss(made, seen).backward()
        optimizer.step()
    assert float(loss(made, seen).detach()) < 0.8 * before


def test_norms_and_biases_do_not_decay() -> None:
    made = trainee()
    optimizer = OPTIMIZERS.build({"kind": "adamw", "weight_decay": 0.3}).build(made)
    decay = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    assert {p.ndim >= 2: decay[id(p)] for p in made.parameters()} == {True: 0.3, False: 0.0}


def test_frozen_parameters_are_in_no_group() -> None:
    made = trainee("lora")
    optimizer = OPTIMIZERS.build("adamw").build(made)
    assert all(p.requires_grad for group in optimizer.param_groups for p in group["params"])
    assert all(group["params"] for group in optimizer.param_groups)


def test_muon_takes_the_hidden_matrices_and_adamw_the_rest() -> None:
    made = trainee()
    optimizer = OPTIMIZERS.build({"kind": "muon", "learning_rate": 1e-3}).build(made)
    steps(made, optimizer, range(1))
    names = {id(parameter): name for name, parameter in made.named_parameters()}
    muon = {names[id(p)] for p in made.parameters() if "momentum_buffer" in optimizer.state[p]}
    adamw = {names[id(p)] for p in made.parameters() if "exp_avg" in optimizer.state[p]}
    assert muon == {name for name in names.values() if name.endswith("_proj.weight")}
    assert adamw == set(names.values()) - muon
    assert [group["base_lr"] for group in optimizer.param_groups] == [1e-3, 2e-3, 2e-3]


def test_muon_steps_as_torch_s_muon_and_adamw_do_alone() -> None:
    together, apart = trainee(), trainee()
    steps(together, OPTIMIZERS.build({"kind": "muon", "learning_rate": 2e-3}).build(together), range(3))
    hidden = [p for name, p in apart.named_parameters() if name.endswith("_proj.weight")]
    others = [p for name, p in apart.named_parameters() if not name.endswith("_proj.weight")]
    muon = torch.optim.Muon(hidden, lr=2e-3, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
    groups = [
        {"params": [p for p in others if p.ndim > 1], "weight_decay": 0.1},
        {"params": [p for p in others if p.ndim == 1], "weight_decay": 0.0},
    ]
    adamw = torch.optim.AdamW(groups, lr=2e-3, betas=(0.9, 0.98), fused=True)
    for optimizer in (muon, adamw):
        for group in optimizer.param_groups:
            group["base_lr"] = 2e-3
    for place in range(3):
        apart.zero_grad()
        loss(apart, tokens(place)).backward()
        for optimizer in (muon, adamw):
            for group in optimizer.param_groups:
                group["lr"] = 2e-3 * (1 - place / 10)
            optimizer.step()
    assert torch.equal(weights(together), weights(apart))


def test_muon_s_own_state_dict_goes_on_too() -> None:
    made, again = trainee(), trainee()
    optimizer, other = (OPTIMIZERS.build("muon").build(m) for m in (made, again))
    steps(made, optimizer, range(2))
    again.load_state_dict(made.state_dict())
    other.load_state_dict(deepcopy(optimizer.state_dict()))
    steps(made, optimizer, range(2, 4))
    steps(again, other, range(2, 4))
    assert torch.equal(weights(made), weights(again))


def test_muon_has_nothing_to_do_with_adapters() -> None:
    with pytest.raises(ConfigError, match="no hidden matrix"):
        OPTIMIZERS.build("muon").build(trainee("lora"))


def test_moments_in_host_memory_change_no_bit() -> None:
    here, there = trainee(), trainee()
    groups = OPTIMIZERS.build("adamw").build(there).param_groups
    offloaded = HostAdamW([{**group} for group in groups], betas=(0.9, 0.98), fused=True)
    steps(here, OPTIMIZERS.build("adamw").build(here), range(4))
    steps(there, offloaded, range(4))
    assert torch.equal(weights(here), weights(there))


@pytest.mark.parametrize("kind", ["adamw8bit", "paged_adamw8bit"])
@pytest.mark.skipif(find_spec("bitsandbytes") is not None, reason="bitsandbytes is installed")
def test_8_bits_say_what_is_missing(kind: str) -> None:
    with pytest.raises((MissingExtraError, RefusedError), match=r"bitsandbytes|pages moments"):
        OPTIMIZERS.build(kind).build(trainee())


def test_there_is_nothing_to_page_on_a_cpu() -> None:
    with pytest.raises(RefusedError, match="pages moments of a GPU, the model is on cpu"):
        OPTIMIZERS.build("paged_adamw8bit").build(trainee())


def test_a_checkpoint_without_moments_is_said(tmp_path: Path) -> None:
    made = trainee()
    assert not read_optimizer(OPTIMIZERS.build("adamw").build(made), made, tmp_path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t: t.pop("exp_avg/model.norm.weight"), "is missing"),
        (lambda t: t.update({"exp_avg/model.norm.weight": torch.zeros(3)}), "expected"),
        (lambda t: t.update({"step/model.norm.weight": torch.zeros((), dtype=torch.int32)}), "expected"),
        (lambda t: t.update({"momentum_buffer/model.norm.weight": torch.zeros(1)}), "is not one of"),
    ],
)
def test_moments_of_something_else_are_refused(change: Any, said: str, tmp_path: Path) -> None:
    made = trainee()
    optimizer = OPTIMIZERS.build("adamw").build(made)
    steps(made, optimizer, range(1))
    write_moments(moments(optimizer, made), tmp_path)
    found = load_file(tmp_path / OPTIMIZER)
    change(found)
    save_file(found, tmp_path / OPTIMIZER)
    with pytest.raises(CorruptError, match=said):
        read_optimizer(OPTIMIZERS.build("adamw").build(made), made, tmp_path)


def test_another_optimizer_s_moments_are_refused(tmp_path: Path) -> None:
    made = trainee()
    optimizer = OPTIMIZERS.build("muon").build(made)
    steps(made, optimizer, range(1))
    write_moments(moments(optimizer, made), tmp_path)
    with pytest.raises(CorruptError, match="optimizer"):
        read_optimizer(OPTIMIZERS.build("adamw").build(made), made, tmp_path)
