"""The fast decoder and head against the plain path: values, every gradient, and when it steps aside."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_decoders import (
    BUILDS,
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
from transformers import PreTrainedModel, Qwen3MoeConfig, Qwen3MoeForCausalLM

from realm.core.errors import StateError
from realm.models.adapters import decoder
from realm.training import fast, forward
from realm.training.attention import use_packed
from realm.training.batching import pack
from realm.training.fast import head as fast_head
from realm.training.memory import recompute_layers

# Of PEFT (0.21), which still asks transformers by the old name.
pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")

torch.set_num_threads(1)


@pytest.mark.parametrize("lengths", LENGTHS)
@pytest.mark.parametrize("lora", [False, True])
@pytest.mark.parametrize("name", BUILDS)
def test_loss_and_gradients_equal_the_plain_path(name: str, lora: bool, lengths: str) -> None:
    model, reference = build(name), build(name)
    if lora:
        model, reference = adapted(model), adapted(reference)
    fitted(model)
    batch = pack(rows(LENGTHS[lengths]))
    expected = -plainly(reference, batch) @ weights_of(batch)
    loss = fast_loss(model, batch)
    assert float(loss.detach()) == pytest.approx(float(expected.detach()), rel=1e-5)
    (3 * loss).backward()
    (3 * expected).backward()
    assert_equal_gradients(model, reference, 1e-5)


@settings(max_examples=25, deadline=None)
@given(
    lengths=st.lists(st.integers(2, 20), min_size=1, max_size=8),
    seed=st.integers(0, 1000),
    name=st.sampled_from(sorted(BUILDS)),
)
def test_any_rows_and_masks_equal_the_plain_path(lengths: list[int], seed: int, name: str) -> None:
    batch = pack(rows(lengths, seed))
    # In double precision only the reference's norms round, which transformers computes in single.
    model, reference = fitted(build(name, dtype=torch.float64)), build(name, dtype=torch.float64)
    fast_loss(model, batch).backward()
    (-plainly(reference, batch) @ weights_of(batch, torch.float64)).backward()
    assert_equal_gradients(model, reference, 1e-5)


@pytest.mark.parametrize("lora", [False, True])
def test_log_probs_and_their_gradients_equal_log_softmax(lora: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fast_head, "LOGITS_AT_ONCE", 7 * VOCABULARY)  # several tiles, the last one smaller
    model, reference = build(), build()
    if lora:
        model, reference = adapted(model), adapted(reference)
    batch = pack(rows(LENGTHS["mixed"]))
    found, expected = forward.token_log_probs(fitted(model), batch), plainly(reference, batch)
    assert torch.allclose(found, expected, rtol=1e-5, atol=1e-5)
    (found**2).sum().backward()
    (expected**2).sum().backward()
    assert_equal_gradients(model, reference, 1e-5)


@pytest.mark.parametrize("rows_a_tile", [1, 3, 100])
def test_the_heads_gradients_are_the_derivatives(rows_a_tile: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fast_head, "LOGITS_AT_ONCE", rows_a_tile * 11)
    draw = torch.Generator().manual_seed(0)
    hidden_MC = torch.randn(7, 5, dtype=torch.float64, generator=draw).requires_grad_()
    weight_VC = torch.randn(11, 5, dtype=torch.float64, generator=draw).requires_grad_()
    targets_M = torch.tensor([0, 10, 3, 3, 5, 1, 3])
    weights_M = torch.rand(7, dtype=torch.float64, generator=draw)
    logp_MV = torch.log_softmax(hidden_MC @ weight_VC.t(), -1)
    expected = -logp_MV.gather(1, targets_M[:, None]).squeeze(1) @ weights_M
    loss = fast_head.cross_entropy_sum(hidden_MC, weight_VC, targets_M, weights_M)
    both = [torch.autograd.grad(2 * each, (hidden_MC, weight_VC)) for each in (loss, expected)]
    assert all(
        torch.allclose(found, right, rtol=1e-12, atol=1e-14) for found, right in zip(*both, strict=True)
    )

    def log_probs(hidden: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        return fast_head.token_log_probs(hidden, weight, targets_M)

    assert torch.autograd.gradcheck(log_probs, (hidden_MC, weight_VC))


def test_a_loss_that_is_only_looked_at_costs_no_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[bool, ...]] = []

    class Noted(fast_head._Gradients):
        def __init__(self, needed: tuple[bool, ...], sides: Any) -> None:
            asked.append(needed)
            super().__init__(needed, sides)

    monkeypatch.setattr(fast_head, "_Gradients", Noted)
    model, batch = fitted(build()), pack(rows([5, 9]))
    with torch.no_grad():
        looked_at = fast_loss(model, batch)
    assert torch.equal(looked_at, fast_loss(model, batch))
    assert asked == [(False, False), (True, True)]


def test_going_backward_twice_says_what_to_do() -> None:
    model = fitted(build())
    loss = fast_loss(model, pack(rows([5, 9])))
    loss.backward(retain_graph=True)
    with pytest.raises(StateError, match="once"):
        loss.backward()


def test_logits_far_apart_stay_finite() -> None:
    hidden_MC = torch.tensor([[300.0, 0.0]], requires_grad=True)
    weight_VC = torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
    assert fast_head.token_log_probs(hidden_MC, weight_VC, torch.tensor([1])).item() == -600.0
    assert fast_head.token_log_probs(hidden_MC, weight_VC, torch.tensor([0])).item() == 0.0


def test_no_row_changes_another() -> None:
    model = fitted(build())
    given_rows = rows(LENGTHS["mixed"])
    before = forward.row_losses(model, pack(given_rows), len(given_rows))
    for disturbed, row in enumerate(given_rows):
        other = list(given_rows)
        other[disturbed] = row._replace(ids=(row.ids + 1) % VOCABULARY)
        after = forward.row_losses(model, pack(other), len(other))
        assert [i for i in range(len(other)) if after[i] != before[i]] == [disturbed]


@pytest.mark.parametrize("lora", [False, True])
def test_two_runs_give_equal_bits(lora: bool) -> None:
    runs = []
    for _ in range(2):
        model = fitted(adapted(build()) if lora else build())
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
        for step in range(3):
            optimizer.zero_grad()
            fast_loss(model, pack(rows([9, 30, 5 + step], step))).backward()
            optimizer.step()
        runs.append(model.state_dict())
    assert all(torch.equal(runs[0][name], runs[1][name]) for name in runs[0])


def test_passes_may_overlap_and_gradients_add_up() -> None:
    batches = [pack(rows([9, 30], 1)), pack(rows([4, 4, 20], 2))]
    model, reference = fitted(build()), build()
    fast_loss(model, batches[0]).backward()  # leaves memory for only one of the passes to use again
    model.zero_grad()
    losses = [fast_loss(model, batch) for batch in batches]
    with torch.no_grad():
        forward.token_log_probs(model, batches[0])
    for loss in losses:
        loss.backward()
    for batch in batches:
        (-plainly(reference, batch) @ weights_of(batch)).backward()
    assert_equal_gradients(model, reference, 1e-5)


def test_frozen_parts_get_no_gradient() -> None:
    model, reference = build(), build()
    for each in (model, reference):
        each.model.embed_tokens.requires_grad_(False)
        each.model.layers[0].mlp.requires_grad_(False)
        each.model.layers[1].self_attn.q_norm.requires_grad_(False)
    batch = pack(rows(LENGTHS["mixed"]))
    fast_loss(fitted(model), batch).backward()
    (-plainly(reference, batch) @ weights_of(batch)).backward()
    assert_equal_gradients(model, reference, 1e-5)


def test_hidden_states_without_the_head_leave_ordinary_gradients() -> None:
    batch = pack(rows(LENGTHS["mixed"]))
    model, reference = fitted(build()), build()
    use_packed(reference)
    for each in (model, reference):
        forward.predictions(each, batch).square().sum().backward()
    assert_equal_gradients(model, reference, 1e-5)


def test_adapters_that_are_off_or_merged_are_left_out() -> None:
    batch = pack(rows(LENGTHS["mixed"]))
    model = fitted(adapted(build()))
    expected = plainly(build(), batch)
    on = forward.token_log_probs(model, batch)
    assert not torch.allclose(on, expected, atol=1e-2)
    with model.disable_adapter():
        assert torch.allclose(forward.token_log_probs(model, batch), expected, atol=1e-5)
    model.merge_adapter()
    assert torch.allclose(forward.token_log_probs(model, batch), on, atol=1e-5)


def test_a_copy_computes_with_its_own_weights() -> None:
    batch = pack(rows(LENGTHS["mixed"]))
    model = fitted(build())
    before = forward.token_log_probs(model, batch).detach()
    other = copy.deepcopy(model)
    with torch.no_grad():
        model.model.norm.weight.mul_(2)
    assert torch.equal(forward.token_log_probs(other, batch), before)
    assert not torch.allclose(forward.token_log_probs(model, batch), before)
    forward.predictions(other, batch).sum().backward()
    assert other.model.embed_tokens.weight.grad.layout is torch.strided
    assert model.model.embed_tokens.weight.grad is None


def test_calls_without_packs_run_the_models_own_code() -> None:
    model = build().eval()
    ids = torch.tensor([[5, 6, 7, 8]])
    before = model(input_ids=ids).logits
    assert fast.fit(model)
    assert torch.equal(model(input_ids=ids).logits, before)


@pytest.mark.parametrize("afterwards", ["recomputed", "autocast to fp16"])
def test_what_comes_up_after_fitting_goes_the_plain_way(afterwards: str) -> None:
    batch = pack(rows(LENGTHS["mixed"]))
    model = fitted(build())
    if afterwards == "recomputed":
        recompute_layers(model, 1)
    with torch.autocast("cpu", dtype=torch.float16, enabled=afterwards == "autocast to fp16"):
        hidden_MC = forward.predictions(model, batch)
    assert type(hidden_MC.grad_fn).__name__ == "IndexSelectBackward0"


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


def _hooked() -> PreTrainedModel:
    model = build()
    model.model.layers[0].mlp.register_forward_hook(lambda *_: None)
    return model


UNKNOWN = {
    "sliding window": lambda: build("qwen2", use_sliding_window=True, sliding_window=8, max_window_layers=0),
    "attention dropout": lambda: build(attention_dropout=0.1),
    "another activation": lambda: build(hidden_act="gelu"),
    "half precision": lambda: build(dtype=torch.bfloat16),
    "experts": _moe,
    "listeners": _hooked,
    "adapter dropout": lambda: adapted(build(), lora_dropout=0.1),
    "DoRA": lambda: adapted(build(), use_dora=True),
    "adapter biases": lambda: adapted(build("llama-biases"), lora_bias=True),
}


@pytest.mark.parametrize("why", UNKNOWN)
def test_models_it_does_not_know_are_left_alone(why: str) -> None:
    model = UNKNOWN[why]()
    assert not fast.fit(model)
    assert "forward" not in decoder(model).__dict__
