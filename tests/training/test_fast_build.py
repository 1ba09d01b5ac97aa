"""Which models the fast decoder takes, and that it leaves one alone as soon as it is another."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from tiny_decoders import (
    LENGTHS,
    VOCABULARY,
    adapted,
    assert_equal_gradients,
    build,
    fast_loss,
    fitted,
    plainly,
    rows,
    weights_of,
)
from torch import nn
from torch.nn.modules import module as every_module
from torch.nn.utils import parametrize
from transformers import PreTrainedModel, Qwen3MoeConfig, Qwen3MoeForCausalLM
from transformers.models.gemma.modeling_gemma import GemmaRMSNorm
from transformers.models.mistral.modeling_mistral import MistralRMSNorm

from realm.models.adapters import base_of, decoder
from realm.training import fast, forward
from realm.training.batching import pack
from realm.training.memory import recompute_layers

# Of PEFT (0.21), which still asks transformers by the old name.
pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")

torch.set_num_threads(1)


def ran_fast(model: Any) -> bool:
    hidden_MC = forward.predictions(model, pack(rows(LENGTHS["one row"])))
    return type(hidden_MC.grad_fn).__name__ != "IndexSelectBackward0"


# --- models of another build ---------------------------------------------------------------------


def _moe() -> PreTrainedModel:
    return Qwen3MoeForCausalLM(
        Qwen3MoeConfig(
            vocab_size=VOCABULARY,
            hidden_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            num_key_value_heads=2,
            head_dim=8,
            moe_intermediate_size=8,
            num_experts=2,
            num_experts_per_tok=1,
        )
    )


def _with(name: str, setting: str, value: object) -> PreTrainedModel:
    model = build()
    setattr(model.get_submodule(name), setting, value)
    return model


def _shortened() -> PreTrainedModel:
    model = build()
    model.config.num_hidden_layers = 1  # of which transformers computes no more
    return model


def _two_norms_in_one() -> PreTrainedModel:
    class Qwen3RMSNorm(type(build().model.norm)):  # type: ignore[misc]
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return 2 * super().forward(x)

    return _with("model.norm", "__class__", Qwen3RMSNorm)


UNKNOWN = {
    "sliding window": lambda: build("qwen2", use_sliding_window=True, sliding_window=8, max_window_layers=0),
    "attention dropout": lambda: build(attention_dropout=0.1),
    "half precision": lambda: build(dtype=torch.bfloat16),
    "experts": _moe,
    "adapter dropout": lambda: adapted(build(), lora_dropout=0.1),
    "DoRA": lambda: adapted(build(), use_dora=True),
    "adapter biases": lambda: adapted(build("llama-biases"), lora_bias=True),
    "activation gelu": lambda: build(hidden_act="gelu"),
    "activation relu": lambda: build("llama", hidden_act="relu"),
    "activation of one layer": lambda: _with("model.layers.0.mlp", "act_fn", nn.GELU()),
    "norm 1 + w": lambda: _with("model", "norm", GemmaRMSNorm(32)),
    "norm of a layer": lambda: _with("model.layers.1", "input_layernorm", nn.LayerNorm(32)),
    "norm of torch": lambda: _with("model.layers.0", "post_attention_layernorm", nn.RMSNorm(32)),
    "norm of another build": lambda: _with("model", "norm", MistralRMSNorm(32)),
    "norm of heads": lambda: _with("model.layers.0.self_attn", "k_norm", nn.LayerNorm(8)),
    "norm of that name": _two_norms_in_one,
    "embedding clipped": lambda: _with("model.embed_tokens", "max_norm", 1.0),
    "embedding by frequency": lambda: _with("model.embed_tokens", "scale_grad_by_freq", True),
    "embedding sparse": lambda: _with("model.embed_tokens", "sparse", True),
    "layer of another kind": lambda: _with("model", "layers", nn.ModuleList([nn.Identity(), nn.Identity()])),
    "fewer layers than there are": _shortened,
    "no layers": lambda: build(num_hidden_layers=0),
}


@pytest.mark.parametrize("why", UNKNOWN)
def test_models_it_does_not_know_are_left_alone(why: str) -> None:
    model = UNKNOWN[why]()
    assert not fast.fit(model)
    assert not fast.takes_packs(model)
    assert "forward" not in decoder(model).__dict__


# --- listeners -----------------------------------------------------------------------------------


class _Doubled(nn.Module):
    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        return 2 * weight


@contextmanager
def _forward_of_its_own(module: Any) -> Iterator[None]:
    module.forward = lambda *given, **named: type(module).forward(module, *given, **named)
    yield
    del module.forward


@contextmanager
def _parametrized(module: Any) -> Iterator[None]:
    parametrize.register_parametrization(module, "weight", _Doubled())
    yield
    parametrize.remove_parametrizations(module, "weight", leave_parametrized=False)


@contextmanager
def _removed(handle: Any) -> Iterator[None]:
    yield
    handle.remove()


LISTENING: dict[str, Callable[[Any], Any]] = {
    "forward": lambda module: _removed(module.register_forward_hook(lambda *_: None)),
    "before forward": lambda module: _removed(module.register_forward_pre_hook(lambda *_: None)),
    "backward": lambda module: _removed(module.register_full_backward_hook(lambda *_: None)),
    "before backward": lambda module: _removed(module.register_full_backward_pre_hook(lambda *_: None)),
    "a forward pass of its own": _forward_of_its_own,
    "parametrized": _parametrized,
}
INSIDE = [
    "embed_tokens",
    "rotary_emb",
    "norm",
    "layers.0",
    "layers.0.input_layernorm",
    "layers.0.self_attn",
    *(f"layers.0.self_attn.{name}" for name in ("q_proj", "k_proj", "v_proj", "o_proj", "q_norm", "k_norm")),
    "layers.1.post_attention_layernorm",
    "layers.1.mlp",
    *(f"layers.1.mlp.{name}" for name in ("gate_proj", "up_proj", "down_proj", "act_fn")),
]
OF_ADAPTERS = [f"layers.0.mlp.up_proj.{name}" for name in ("base_layer", "lora_A.default", "lora_dropout")]


def _inside(model: Any, how: str) -> Iterator[tuple[str, nn.Module]]:
    names = INSIDE if base_of(model) is model else [*INSIDE, *OF_ADAPTERS]
    for name in names:
        module = decoder(model).get_submodule(name)
        if how != "parametrized" or "weight" in module._parameters:
            yield name, module


@pytest.mark.parametrize("lora", [False, True])
@pytest.mark.parametrize("how", LISTENING)
def test_nobody_who_listens_to_a_module_is_passed_over(how: str, lora: bool) -> None:
    model = adapted(build()) if lora else build()
    for name, module in _inside(model, how):
        with LISTENING[how](module):
            assert not fast.fit(model), name
            assert not fast.computes(model), name
    for name, module in _inside(fitted(model), how):
        with LISTENING[how](module):
            assert not fast.takes_packs(model), name
            assert not ran_fast(model), name
        assert fast.takes_packs(model), name
    assert ran_fast(model)


def test_who_listens_to_all_modules_is_not_passed_over() -> None:
    model, heard = fitted(build()), []
    handle = every_module.register_module_forward_hook(lambda module, *_: heard.append(type(module).__name__))
    try:
        assert not ran_fast(model)
    finally:
        handle.remove()
    assert "Qwen3MLP" in heard
    assert ran_fast(model)


@pytest.mark.parametrize("hook", ["register_hook", "register_post_accumulate_grad_hook"])
def test_who_listens_to_a_tied_weight_is_shown_the_whole_gradient(hook: str) -> None:
    model, shown = fitted(build()), []
    weight = model.model.embed_tokens.weight

    def show(given: torch.Tensor) -> None:
        found = given if hook == "register_hook" else given.grad
        assert found is not None
        shown.append(found.clone())

    handle = getattr(weight, hook)(show)
    batch = pack(rows(LENGTHS["mixed"]))
    (forward.token_log_probs(model, batch) @ weights_of(batch)).backward()
    assert torch.equal(shown[-1], weight.grad)
    handle.remove()
    assert ran_fast(model)


# --- what comes up after fitting -----------------------------------------------------------------


def _exchanged_norm(model: Any) -> Any:
    decoder(model).norm = nn.Identity()
    return model


def _exchanged_map(model: Any) -> Any:
    layers: Any = decoder(model).layers
    layers[0].mlp.up_proj = nn.Linear(32, 48)
    return model


def _recomputed(model: Any) -> Any:
    recompute_layers(model, 1)
    return model


def _checkpointed(model: Any) -> Any:
    model.activation_checkpointing_enable()
    return model


LATER: dict[str, Callable[[Any], Any]] = {
    "recomputed": _recomputed,
    "gradient checkpointing": _checkpointed,
    "adapters": adapted,
    "double precision": lambda model: model.double(),
    "half precision": lambda model: model.bfloat16(),
    "norm": _exchanged_norm,
    "map": _exchanged_map,
}


@pytest.mark.parametrize("later", LATER)
def test_a_model_that_became_another_goes_the_plain_way(later: str) -> None:
    model = fitted(build())
    assert fast.takes_packs(model)
    model = LATER[later](model)
    assert not fast.takes_packs(model)
    assert not ran_fast(model)


def test_adapters_that_were_taken_off_are_not_computed_any_more() -> None:
    batch, model = pack(rows(LENGTHS["mixed"])), fitted(adapted(build())).unload()
    assert torch.allclose(forward.token_log_probs(model, batch), plainly(build(), batch), atol=1e-5)


def test_autocast_to_fp16_goes_the_plain_way_while_it_lasts() -> None:
    model = fitted(build())
    with torch.autocast("cpu", dtype=torch.float16):
        assert not ran_fast(model)
    assert ran_fast(model)


@pytest.mark.parametrize("name", ["llama", "qwen3"])
def test_weights_put_in_the_place_of_others_are_those_trained(name: str) -> None:
    other = {key: 1.1 * value for key, value in build(name).state_dict().items()}
    model, reference = fitted(build(name)), build(name)
    for each in (model, reference):
        each.load_state_dict(other, assign=True)
        each.requires_grad_(True)
    batch = pack(rows(LENGTHS["mixed"]))
    fast_loss(model, batch).backward()
    (-plainly(reference, batch) @ weights_of(batch)).backward()
    assert_equal_gradients(model, reference, 1e-5)
