from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tiny_runs import make_start, qwen3, tokenizer

from realm.models.adapters import AdapterShape, Base, shape_of, state_to_save, wrap, write_adapter
from realm.models.blank import BLANKS, SpecialIds
from realm.training.layers import Layers, layer_of

LAYERS = ["embed", "layers.0", "layers.1", "norm"]


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("model.embed_tokens.weight", "embed"),
        ("model.layers.0.self_attn.q_proj.weight", "layers.0"),
        ("model.layers.11.input_layernorm.weight", "layers.11"),
        ("model.norm.weight", "norm"),
        ("lm_head.weight", "head"),
        ("base_model.model.model.layers.3.mlp.up_proj.lora_A.default.weight", "layers.3"),
        ("base_model.model.model.embed_tokens.lora_embedding_A.default", "embed"),
        ("model.language_model.layers.2.mlp.gate_proj.weight", "layers.2"),
        ("model.visual.blocks.0.attn.qkv.weight", "vision"),
        ("model.vision_tower.encoder.layers.4.fc1.weight", "vision"),
        ("score.weight", "other"),
    ],
)
def test_layers_are_told_by_the_parameters_name(name: str, layer: str) -> None:
    assert layer_of(name) == layer


def _with_gradients(model: Any) -> None:
    ids = torch.arange(12)[None] + 5
    model(input_ids=ids, labels=ids).loss.backward()


def test_a_whole_models_figures_are_those_of_its_parameters(tmp_path: Path) -> None:
    origin = make_start(tmp_path / "origin")
    model = qwen3()
    _with_gradients(model)
    with torch.no_grad():
        model.model.layers[1].mlp.up_proj.weight += 0.5
    begun = load_file(origin / "model.safetensors")
    found = Layers(model, origin).measure()
    of_layer = {n: p for n, p in model.named_parameters() if ".layers.1." in n}
    assert list(found.norms) == list(found.gradients) == LAYERS
    assert found.norms["layers.1"] == pytest.approx(
        math.sqrt(sum(float(p.detach().square().sum()) for p in of_layer.values())), rel=1e-5
    )
    assert found.gradients["layers.1"] == pytest.approx(
        math.sqrt(sum(float(p.grad.square().sum()) for p in of_layer.values() if p.grad is not None)),
        rel=1e-5,
    )
    origin_norm = math.sqrt(sum(float(begun[name].square().sum()) for name in of_layer))
    moved = 0.5 * math.sqrt(of_layer["model.layers.1.mlp.up_proj.weight"].numel())
    assert found.drift["layers.1"] == pytest.approx(moved / origin_norm, rel=1e-4)
    assert [found.drift[layer] for layer in ("embed", "layers.0", "norm")] == [0, 0, 0]


def test_clipping_is_taken_out_again(tmp_path: Path) -> None:
    layers, model = make_start(tmp_path / "origin"), qwen3()
    _with_gradients(model)
    before = Layers(model, layers).measure().gradients
    norm = float(torch.nn.utils.clip_grad_norm_(model.parameters(), 0.1))
    after = Layers(model, layers).measure(gradient_scale=0.1 / norm).gradients
    assert after == pytest.approx(before, rel=1e-4)
    assert math.hypot(*before.values()) == pytest.approx(norm, rel=1e-4)


def test_only_what_is_trained_is_measured(tmp_path: Path) -> None:
    model = qwen3()
    model.model.layers[0].requires_grad_(False)
    found = Layers(model, make_start(tmp_path / "origin")).measure()
    assert list(found.norms) == list(found.drift) == ["embed", "layers.1", "norm"]
    assert found.gradients == {}


def test_measuring_changes_nothing(tmp_path: Path) -> None:
    model = qwen3()
    layers = Layers(model, make_start(tmp_path / "origin"))
    _with_gradients(model)
    weights = {n: p.detach().clone() for n, p in model.named_parameters()}
    gradients = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
    state = torch.get_rng_state()
    first = layers.measure()
    assert torch.equal(torch.get_rng_state(), state)
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter, weights[name])
        assert parameter.grad is not None
        assert torch.equal(parameter.grad, gradients[name])
        assert parameter.requires_grad
    assert layers.measure() == first


# --- adapters ------------------------------------------------------------------------------


def _adapter(model: Any, **settings: Any) -> Any:
    targets = [f"model.layers.{i}.{name}" for i in (0, 1) for name in ("self_attn.q_proj", "mlp.up_proj")]
    wanted = {"target_modules": targets, "r": 4, "lora_alpha": 12, **settings}
    return wrap(model, AdapterShape.model_validate(wanted), seed=0)


def _draw_factors(model: Any, seed: int = 1) -> None:
    source = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if ".lora_" in name:
                parameter.copy_(0.1 * torch.randn(parameter.shape, generator=source))


def _deltas(model: Any) -> dict[str, torch.Tensor]:
    """What the adapter adds to each weight, as PEFT computes it."""
    found = {n: m for n, m in model.named_modules() if hasattr(m, "get_delta_weight") and m.lora_A}
    with torch.no_grad():
        return {name: module.get_delta_weight("default").double() for name, module in found.items()}


def _relative(model: Any, before: dict[str, torch.Tensor]) -> dict[str, float]:
    """Drift from whole matrices, the plain way."""
    moved, begun = dict[str, float](), dict[str, float]()
    for name, delta in _deltas(model).items():
        module, layer = model.get_submodule(name), layer_of(name + ".")
        weight = module.get_param() if hasattr(module, "get_param") else module.get_base_layer().weight
        difference = delta - before.get(name, torch.zeros_like(delta))
        moved[layer] = moved.get(layer, 0) + float(difference.square().sum())
        begun[layer] = begun.get(layer, 0) + float(weight.detach().double().square().sum())
    return {layer: math.sqrt(moved[layer] / begun[layer]) for layer in moved}


@pytest.mark.parametrize("settings", [{}, {"use_rslora": True}], ids=["lora", "rslora"])
def test_an_adapter_drifts_by_what_it_adds(tmp_path: Path, settings: dict[str, bool]) -> None:
    origin = make_start(tmp_path / "origin")
    model = _adapter(qwen3(), **settings)
    layers = Layers(model, origin)
    assert layers.measure().drift == {"layers.0": 0, "layers.1": 0}
    _draw_factors(model)
    _with_gradients(model)
    found = layers.measure()
    assert found.drift == pytest.approx(_relative(model, {}), rel=1e-5)
    assert list(found.norms) == list(found.gradients) == ["layers.0", "layers.1"]
    assert found.norms["layers.0"] == pytest.approx(
        math.sqrt(
            sum(
                float(p.detach().square().sum())
                for n, p in model.named_parameters()
                if p.requires_grad and ".layers.0." in n
            )
        ),
        rel=1e-5,
    )


def test_an_adapter_that_is_gone_on_with_drifts_from_where_the_run_began(tmp_path: Path) -> None:
    model = _adapter(qwen3())
    _draw_factors(model, seed=1)
    before = _deltas(model)
    (tmp_path / "origin").mkdir()
    base = Base(base="sha256:" + "0" * 64)
    write_adapter(shape_of(model), state_to_save(model), base, tmp_path / "origin")
    layers = Layers(model, tmp_path / "origin")
    assert layers.measure().drift == pytest.approx({"layers.0": 0, "layers.1": 0}, abs=1e-7)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if ".lora_" in name:
                parameter += 1e-3
    assert layers.measure().drift == pytest.approx(_relative(model, before), rel=1e-4)


@pytest.mark.filterwarnings("ignore:Model has `tie_word_embeddings=True`:UserWarning")
def test_an_adapted_embedding_drifts_by_what_it_adds(tmp_path: Path) -> None:
    model = _adapter(qwen3(), target_modules=["embed_tokens"])
    _draw_factors(model)
    module = model.get_submodule("base_model.model.model.embed_tokens")
    delta = module.get_delta_weight("default").detach()
    expected = float(delta.norm() / module.get_base_layer().weight.norm())
    found = Layers(model, make_start(tmp_path / "origin")).measure()
    assert found.drift == pytest.approx({"embed": expected}, rel=1e-5)


# --- experts -------------------------------------------------------------------------------

EXPERTS = ["mlp.experts.gate_up_proj", "mlp.experts.down_proj"]


def _moe() -> Any:
    shape = {
        "kind": "qwen3_moe",
        "hidden_size": 32,
        "layers": 2,
        "heads": 2,
        "head_dim": 16,
        "experts": 4,
        "expert_size": 24,
    }
    made = tokenizer()
    return BLANKS.build(shape).build(
        len(made), SpecialIds(end=made.eos_token_id, pad=made.pad_token_id), seed=0
    )


def test_stacked_experts_are_found_in_files_that_hold_them_apart(tmp_path: Path) -> None:
    model, origin = _moe(), make_start(tmp_path / "origin", _moe())
    assert not any("gate_up_proj" in name for name in load_file(origin / "model.safetensors"))
    layers = Layers(model, origin)
    assert set(layers.measure().drift.values()) == {0.0}
    begun = {n: p.detach().clone() for n, p in model.named_parameters() if ".layers.1." in n}
    with torch.no_grad():
        for part in EXPERTS:
            model.get_parameter(f"model.layers.1.{part}")[2] += 0.25
    moved = 0.25 * math.sqrt(sum(begun[f"model.layers.1.{part}"][2].numel() for part in EXPERTS))
    whole = math.sqrt(sum(float(value.square().sum()) for value in begun.values()))
    found = layers.measure().drift
    assert found["layers.1"] == pytest.approx(moved / whole, rel=1e-5)
    assert found["layers.0"] == 0


def test_an_adapter_on_experts_drifts_by_what_it_adds(tmp_path: Path) -> None:
    model = _adapter(_moe(), target_modules=[], target_parameters=EXPERTS)
    _draw_factors(model)
    assert len(_deltas(model)) == 4
    found = Layers(model, make_start(tmp_path / "origin", _moe())).measure()
    assert found.drift == pytest.approx(_relative(model, {}), rel=1e-5)
