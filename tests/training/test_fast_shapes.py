"""The fast decoder and head against the plain path in double precision: any shape, any pack."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_decoders import (
    BUILDS,
    adapted,
    assert_equal_gradients,
    build,
    fast_loss,
    fitted,
    plainly,
    rows,
    weights_of,
    with_exact_norms,
)

from realm.training.attention import use_packed
from realm.training.batching import pack
from realm.training.fast.attention import LONG

# Of PEFT (0.21), which still asks transformers by the old name.
pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")

torch.set_num_threads(1)
TOLERANCES = {torch.float64: 1e-9, torch.float32: 1e-5}
"""Relative to the largest number of each gradient."""
MIXED = [2, 3, 3, 5, 17, 40]


def assert_same_pass(model: Any, reference: Any, lengths: list[int], dtype: torch.dtype) -> None:
    """Loss and all gradients; the reference was never fitted."""
    if dtype is torch.float64:
        reference = with_exact_norms(reference)
    batch = pack(rows(lengths, vocabulary=model.config.vocab_size))
    loss = fast_loss(fitted(model), batch)
    expected = -plainly(reference, batch) @ weights_of(batch, dtype)
    assert float(loss.detach()) == pytest.approx(float(expected.detach()), rel=TOLERANCES[dtype])
    loss.backward()
    expected.backward()
    assert_equal_gradients(model, reference, TOLERANCES[dtype])


SHAPES: dict[str, tuple[str, dict[str, Any], list[int]]] = {
    "rows beyond the longest that are batched": ("qwen3", {}, [20, LONG + 1, LONG + 2, LONG + 5, 600]),
    "long rows, one key head": ("llama", {"num_key_value_heads": 1}, [LONG + 30, 450]),
    "one key head": ("qwen3", {"num_key_value_heads": 1}, MIXED),
    "one head": ("qwen2", {"num_attention_heads": 1, "num_key_value_heads": 1}, MIXED),
    "heads of 10, wider than the rest": ("qwen3", {"head_dim": 10}, MIXED),
    "heads of 6, narrower than the rest": ("llama", {"head_dim": 6}, MIXED),
    "heads of 2": ("qwen2", {"hidden_size": 12, "num_attention_heads": 6, "num_key_value_heads": 3}, MIXED),
    "untied": ("qwen3", {"tie_word_embeddings": False}, MIXED),
    "tied": ("llama", {"tie_word_embeddings": True}, MIXED),
    "one layer": ("qwen3", {"num_hidden_layers": 1}, MIXED),
    "four layers": ("llama-biases", {"num_hidden_layers": 4}, MIXED),
    "one row of one token": ("qwen3", {}, [2]),
    "rows of one token": ("llama", {}, [2] * 40),
    "many rows of equal length": ("qwen3", {}, [7] * 150),
    "rows as long as they are filled up to": ("qwen2", {}, [33] * 5 + [65, 65]),
    "nothing is padding": ("llama", {"pad_token_id": None}, MIXED),
}


@pytest.mark.parametrize("dtype", TOLERANCES, ids=str)
@pytest.mark.parametrize("shape", SHAPES)
def test_loss_and_gradients_of_every_shape_equal_the_plain_path(shape: str, dtype: torch.dtype) -> None:
    name, own, lengths = SHAPES[shape]
    model, reference = (build(name, dtype=dtype, **own) for _ in range(2))
    assert_same_pass(model, reference, lengths, dtype)


@pytest.mark.parametrize("tied", [False, True])
def test_the_padding_token_learns_as_a_target_alone(tied: bool) -> None:
    shape = {"pad_token_id": 3, "tie_word_embeddings": tied, "dtype": torch.float64}
    model, reference = build(**shape), build(**shape)
    assert_same_pass(model, reference, [60, 60], torch.float64)
    assert bool(model.model.embed_tokens.weight.grad[3].any()) is tied
    assert model.model.embed_tokens.weight.grad[4].any()


@pytest.mark.parametrize("active", [["default"], ["other"], ["default", "other"]], ids="+".join)
@pytest.mark.parametrize("name", ["qwen3", "llama-biases"])
def test_of_several_adapters_those_that_are_on_are_trained(name: str, active: list[str]) -> None:
    models = [adapted(build(name, dtype=torch.float64), "other") for _ in range(2)]
    for each in models:
        each.base_model.set_adapter(active)
    assert_same_pass(*models, MIXED, torch.float64)
    trained = {name.split(".")[-2] for name, each in models[0].named_parameters() if each.grad is not None}
    assert trained == set(active)


@pytest.mark.parametrize("name", BUILDS)
def test_a_base_held_in_bf16_beneath_an_adapter_is_computed_in_fp32(name: str) -> None:
    model, reference = adapted(build(name)), adapted(build(name))
    for each in (model, reference):
        for parameter in each.parameters():
            if not parameter.requires_grad:
                rounded = parameter.data.bfloat16()
                parameter.data = rounded if each is model else rounded.float()
    assert_same_pass(model, reference, MIXED, torch.float32)
    assert model.get_base_model().model.embed_tokens.weight.dtype is torch.bfloat16


def test_packs_add_up_in_shared_and_frozen_weights() -> None:
    models = [build("qwen3-no-sharing", dtype=torch.float64) for _ in range(2)]
    for each in models:
        first, second = each.model.layers
        first.self_attn.k_proj.weight = first.self_attn.q_proj.weight
        first.self_attn.k_norm = first.self_attn.q_norm
        second.mlp, second.input_layernorm = first.mlp, each.model.norm
        second.self_attn.requires_grad_(False)
        use_packed(each)
    for lengths in (MIXED, [9, 2], [30]):
        assert_same_pass(*models, lengths, torch.float64)
        models[0].model.__dict__.pop("forward")  # so that the next pass fits it anew


@st.composite
def shapes(draw: st.DrawFn) -> tuple[str, dict[str, Any]]:
    """A build's name, and its settings."""
    heads = draw(st.integers(1, 6))
    return draw(st.sampled_from(sorted(BUILDS))), {
        "num_attention_heads": heads,
        "num_key_value_heads": draw(st.sampled_from([n for n in range(1, heads + 1) if heads % n == 0])),
        "head_dim": 2 * draw(st.integers(1, 8)),
        "hidden_size": heads * draw(st.integers(1, 8)),  # a multiple, as Llama's settings have to be
        "intermediate_size": draw(st.integers(1, 40)),
        "num_hidden_layers": draw(st.integers(1, 2)),
        "vocab_size": draw(st.integers(2, 200)),
        "tie_word_embeddings": draw(st.booleans()),
    }


@settings(max_examples=20, deadline=None)
@given(shape=shapes(), lengths=st.lists(st.integers(2, 45), min_size=1, max_size=8), lora=st.booleans())
def test_random_shapes_and_packs_equal_the_plain_path(
    shape: tuple[str, dict[str, Any]], lengths: list[int], lora: bool
) -> None:
    name, own = shape
    models = [build(name, dtype=torch.float64, **own) for _ in range(2)]
    assert_same_pass(*(adapted(each) if lora else each for each in models), lengths, torch.float64)
