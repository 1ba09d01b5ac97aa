from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from transformers import AfmoeConfig, AfmoeForCausalLM

from realm.core.errors import ConfigError, MissingExtraError, StateError
from realm.core.records import ArtifactKind
from realm.models.adapters import Base, merge_adapter, state_to_save
from realm.models.files import load, save
from realm.storage.store import Store
from realm.training.parameter import PARAMETERS
from tiny_shapes import SHAPES, loss, model, tokenizer, tokens

ATTENTION = ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj"]
MLP = ["mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"]
LINEAR_ATTENTION = ["linear_attn.in_proj_qkvz", "linear_attn.out_proj"]
SHARED = ["mlp.shared_expert.gate_proj", "mlp.shared_expert.up_proj", "mlp.shared_expert.down_proj"]
ADAPTED: dict[str, list[str]] = {
    "llama": [f"model.layers.{i}.{name}" for i in (0, 1) for name in ATTENTION + MLP],
    "qwen3": [f"model.layers.{i}.{name}" for i in (0, 1) for name in ATTENTION + MLP],
    "qwen3_moe": [f"model.layers.{i}.{name}" for i in (0, 1) for name in ATTENTION],
    "qwen3_next": [
        *(f"model.layers.0.{name}" for name in LINEAR_ATTENTION + SHARED),
        *(f"model.layers.1.{name}" for name in ATTENTION + SHARED),
    ],
    "qwen3_vl": [f"model.language_model.layers.{i}.{name}" for i in (0, 1) for name in ATTENTION + MLP],
}
"""What an adapter changes when nothing else is asked for; every other layer stays."""
ROUTERS = {
    "qwen3_moe": [f"model.layers.{i}.mlp.gate.weight" for i in (0, 1)],
    "qwen3_next": [
        f"model.layers.{i}.mlp.{name}.weight" for i in (0, 1) for name in ("gate", "shared_expert_gate")
    ],
}


def applied(shape: str, seed: int = 0, **settings: Any) -> tuple[Any, list[str]]:
    parameters = PARAMETERS.build(settings)
    made = parameters.apply(model(shape), seed)
    return made, parameters.trained(made)


def layers_of(trained: list[str]) -> list[str]:
    return sorted({name.removeprefix("base_model.model.").partition(".lora_")[0] for name in trained})


@pytest.mark.parametrize("shape", SHAPES)
def test_full_trains_all_but_routers_and_vision(shape: str) -> None:
    _, trained = applied(shape, kind="full")
    everything = [name for name, _ in model(shape).named_parameters()]
    vision = [name for name in everything if ".visual." in name]
    left_out = ROUTERS.get(shape, []) + vision
    assert trained == [name for name in everything if name not in left_out]
    assert bool(vision) == (shape == "qwen3_vl")


def test_a_bias_that_evens_out_experts_belongs_to_the_router() -> None:
    sizes = {"hidden_size": 16, "intermediate_size": 16, "moe_intermediate_size": 8, "vocab_size": 32}
    layers = {"num_hidden_layers": 2, "num_dense_layers": 1, "num_experts": 4, "num_experts_per_tok": 2}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 8}
    made = AfmoeForCausalLM(AfmoeConfig(**sizes, **layers, **heads))
    trained = PARAMETERS.build("full").trained(PARAMETERS.build("full").apply(made, 0))
    left_out = [name for name, _ in made.named_parameters() if name not in trained]
    assert left_out == ["model.layers.1.mlp.expert_bias", "model.layers.1.mlp.router.gate.weight"]


@pytest.mark.parametrize("shape", SHAPES)
def test_lora_adapts_attention_and_shared_layers(shape: str) -> None:
    _, trained = applied(shape, kind="lora", rank=2)
    assert layers_of(trained) == sorted(ADAPTED[shape])
    assert all(".lora_A." in name or ".lora_B." in name for name in trained)


@pytest.mark.parametrize("shape", ["qwen3_moe", "qwen3_next"])
def test_experts_are_added_on_request_and_routers_are_not(shape: str) -> None:
    made, trained = applied(shape, kind="lora", rank=2, experts=True)
    experts = {f"model.layers.{i}.mlp.experts" for i in (0, 1)}
    found = {name.removesuffix(".base_layer") for name in layers_of(trained)}
    assert found == set(ADAPTED[shape]) | experts
    assert not [name for name in trained if ".gate." in name or "shared_expert_gate" in name]
    assert set(made.peft_config["default"].target_parameters) == {
        f"{name}.{weight}" for name in experts for weight in ("gate_up_proj", "down_proj")
    }


@pytest.mark.parametrize("shape", SHAPES)
def test_a_step_moves_what_is_trained_and_nothing_else(shape: str) -> None:
    for settings in ({"kind": "full"}, {"kind": "lora", "rank": 2, "dora": True}):
        made, trained = applied(shape, **settings)
        before = {name: parameter.detach().clone() for name, parameter in made.named_parameters()}
        optimizer = torch.optim.SGD([p for p in made.parameters() if p.requires_grad], lr=1.0)
        for _ in range(2):  # B is zero at first, so that A moves in the second step
            loss(made, tokens()).backward()
            optimizer.step()
        moved = [name for name, p in made.named_parameters() if not torch.equal(p, before[name])]
        assert moved == trained


@pytest.mark.parametrize(
    ("shape", "pattern", "named"),
    [
        ("qwen3_moe", "gate", "model.layers.0.mlp.gate"),
        ("qwen3_moe", "mlp.*", "model.layers.0.mlp.gate"),
        ("qwen3_next", "shared_expert_gate", "model.layers.0.mlp.shared_expert_gate"),
        ("qwen3_next", "*gate*", "model.layers.0.mlp.gate"),
        ("qwen3_vl", "attn.qkv", "model.visual.blocks.0.attn.qkv"),
        ("qwen3_vl", "linear_fc1", "model.visual.merger.linear_fc1"),
        ("qwen3", "*", "lm_head"),
    ],
)
def test_patterns_that_touch_what_is_protected_are_refused(shape: str, pattern: str, named: str) -> None:
    with pytest.raises(ConfigError, match="matches what is never adapted") as refused:
        applied(shape, kind="lora", targets=["q_proj", pattern])
    assert named in str(refused.value)


def test_patterns_take_names_endings_and_globs() -> None:
    _, trained = applied("qwen3", kind="lora", targets=["model.layers.0.mlp.up_proj", "*.1.self_attn.?_proj"])
    assert layers_of(trained) == [
        "model.layers.0.mlp.up_proj",
        *(f"model.layers.1.{name}" for name in sorted(ATTENTION)),
    ]


@pytest.mark.parametrize(
    ("settings", "near"),
    [
        ({"kind": "lora", "targets": ["qproj"]}, "q_proj"),
        ({"kind": "full", "freeze": ["embed_token"]}, "embed_tokens"),
    ],
)
def test_a_pattern_that_matches_nothing_names_what_is_near(settings: dict[str, Any], near: str) -> None:
    with pytest.raises(ConfigError, match=f"matches nothing.*\n.*{near}"):
        applied("qwen3", **settings)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("pattern", ["embed_tokens", "lm_hed", "gate_prj", "self_atn", "zzz"])
def test_only_names_that_would_be_taken_are_suggested(shape: str, pattern: str) -> None:
    with pytest.raises(ConfigError) as refused:
        applied(shape, kind="lora", targets=[pattern])
    suggested = refused.value.hint.partition(": ")[2].split(", ")
    assert suggested != ["none"]
    for name in suggested:
        assert applied(shape, kind="lora", targets=[name])[1]


def test_freezing_leaves_modules_and_parameters_out() -> None:
    _, trained = applied("qwen3_moe", kind="full", freeze=["embed_tokens", "*_norm.weight", "layers.0"])
    assert trained
    assert not [name for name in trained if "embed" in name or "_norm" in name or ".layers.0." in name]


def test_freezing_everything_is_refused() -> None:
    with pytest.raises(ConfigError, match="nothing is left"):
        applied("qwen3", kind="full", freeze=["*"])


def test_dense_models_have_no_experts_to_add() -> None:
    with pytest.raises(ConfigError, match="no fused experts"):
        applied("qwen3", kind="lora", experts=True)


def test_dora_and_experts_exclude_each_other() -> None:
    with pytest.raises(ConfigError, match="choose one"):
        PARAMETERS.config({"kind": "lora", "dora": True, "experts": True})


def test_dropout_and_experts_exclude_each_other() -> None:
    with pytest.raises(ConfigError, match="choose one of dropout and experts"):
        PARAMETERS.config({"kind": "lora", "dropout": 0.1, "experts": True})


def test_equal_seeds_draw_equal_adapters() -> None:
    first, again, other = (applied("qwen3", seed, kind="lora")[0] for seed in (1, 1, 2))
    a, b, c = (torch.cat([v.flatten() for v in state_to_save(m).values()]) for m in (first, again, other))
    assert torch.equal(a, b)
    assert not torch.equal(a, c)


@pytest.mark.parametrize("settings", [{}, {"dora": True}, {"experts": True}], ids=str)
def test_the_adapter_of_a_checkpoint_is_gone_on_with(settings: dict[str, Any], tmp_path: Path) -> None:
    parameters = PARAMETERS.build({"kind": "lora", "rank": 2, **settings})
    store = Store(tmp_path)
    made = parameters.apply(model("qwen3_moe"), 1)
    folders = []
    base = None
    for each in (model("qwen3_moe"), made):
        stage = store.stage(ArtifactKind.CHECKPOINT)
        save(each, tokenizer(), stage, base)
        base = Base(base=store.publish(stage, ArtifactKind.CHECKPOINT, lambda ref: ref.hash))
        folders.append(store.path(ArtifactKind.CHECKPOINT, base.base))
    again = parameters.apply(load(folders[1], merge=False).model, 2)
    before, after = state_to_save(made), state_to_save(again)
    assert all(torch.equal(before[name], after[name]) for name in before | after)
    assert parameters.trained(again) == parameters.trained(made)
    assert parameters.continues(folders[1])
    for other in ({"rank": 3}, {"targets": ["q_proj"]}):
        changed = PARAMETERS.build({"kind": "lora", "rank": 2, **settings, **other})
        assert not changed.continues(folders[1])
        with pytest.raises(ConfigError, match="another adapter"):
            changed.apply(again, 1)


def test_a_full_run_merges_the_adapter_it_begins_from() -> None:
    made, _ = applied("qwen3", kind="lora")
    plain = PARAMETERS.build("full").apply(made, 0)
    assert not isinstance(plain, PeftModel)
    assert all(parameter.requires_grad for parameter in plain.parameters())


def test_frozen_adapters_are_added_beneath(tmp_path: Path) -> None:
    store = Store(tmp_path)

    def put(made: Any, base: Base | None = None) -> str:
        stage = store.stage(ArtifactKind.CHECKPOINT)
        save(made, tokenizer(), stage, base)
        return store.publish(stage, ArtifactKind.CHECKPOINT, lambda ref: ref.hash)

    below, _ = applied("qwen3", kind="lora", rank=2)
    with torch.no_grad():
        for name, parameter in below.named_parameters():
            if ".lora_B." in name:
                parameter.fill_(0.01)
    base = Base(base=put(model("qwen3")))
    content = put(below, base)
    folder = store.path(ArtifactKind.CHECKPOINT, content)
    parameters = PARAMETERS.build({"kind": "lora", "frozen": [str(folder)]})
    assert parameters.frozen == (content,)
    stacked = parameters.apply(model("qwen3"), 0)
    assert len(parameters.trained(stacked)) == 28
    with torch.no_grad():
        merged = merge_adapter(below)(input_ids=tokens()).logits
        assert torch.equal(stacked(input_ids=tokens()).logits, merged)
    with pytest.raises(ConfigError, match="frozen"):
        PARAMETERS.config({"kind": "lora", "frozen": ["some/adapter"]})


@pytest.mark.skipif(find_spec("bitsandbytes") is not None, reason="bitsandbytes is installed")
def test_4_bits_without_the_library_say_what_to_install() -> None:
    with pytest.raises(MissingExtraError, match="bitsandbytes"):
        applied("qwen3", kind="lora", bits=4)


@pytest.mark.skipif(find_spec("bitsandbytes") is None, reason="needs bitsandbytes")
@pytest.mark.parametrize("settings", [{}, {"dora": True}], ids=str)
@pytest.mark.parametrize("shape", ["llama", "qwen3_next", "qwen3_vl"])
def test_4_bits_hold_the_frozen_layers_and_train_the_adapter(
    shape: str, settings: dict[str, Any], tmp_path: Path
) -> None:
    parameters = PARAMETERS.build({"kind": "lora", "rank": 2, "bits": 4, **settings})
    made = parameters.apply(model(shape), 0)
    assert parameters.trained(made) == applied(shape, kind="lora", rank=2, **settings)[1]
    held = {name for name, p in made.named_parameters() if type(p).__name__ == "Params4bit"}
    assert len(held) >= len(ADAPTED[shape])
    assert not [name for name in held if "gate." in name or ".visual." in name or "embed" in name]
    optimizer = torch.optim.AdamW([p for p in made.parameters() if p.requires_grad], lr=1e-2)
    before = float(loss(made, tokens()).detach())
    for _ in range(8):
        optimizer.zero_grad()
        loss(made, tokens()).backward()
        optimizer.step()
    after = float(loss(made, tokens()).detach())
    assert after < 0.98 * before
    store = Store(tmp_path)
    base = None
    for each in (model(shape), made):
        stage = store.stage(ArtifactKind.CHECKPOINT)
        save(each, tokenizer(), stage, base)
        base = Base(base=store.publish(stage, ArtifactKind.CHECKPOINT, lambda ref: ref.hash))
    found = store.path(ArtifactKind.CHECKPOINT, base.base)
    again = parameters.apply(load(found, merge=False).model, 0)
    assert float(loss(again.train(), tokens()).detach()) == after
    with pytest.raises(StateError, match="4 bits"):
        merge_adapter(again)
    load(found)
