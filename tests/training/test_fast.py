"""The fast decoder and head against the plain path: values, every gradient, and when it steps aside."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
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

from realm.core.errors import StateError
from realm.models.adapters import decoder
from realm.training import fast, forward
from realm.training.attention import use_packed
from realm.training.batching import pack
from realm.training.fast import head as fast_head
from realm.training.fast import kernels
from realm.training.fast.buffers import Buffers, Pool, Scratch

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


@pytest.mark.parametrize("lora", [False, True])
def test_passes_in_inference_mode_leave_memory_that_training_can_use(lora: bool) -> None:
    small, large = pack(rows([5, 9])), pack(rows([9, 30, 30]))
    model, reference = (adapted(build()) if lora else build() for _ in range(2))
    fitted(model)
    with torch.inference_mode():
        forward.token_log_probs(model, small)  # the first memory of all
    fast_loss(model, small).backward()
    with torch.inference_mode():
        forward.token_log_probs(model, large)  # memory grows
    fast_loss(model, large).backward()
    with torch.inference_mode():
        looked_at = fast_loss(model, large)
    assert torch.equal(looked_at, fast_loss(model, large))
    for batch in (small, large):
        (-plainly(reference, batch) @ weights_of(batch)).backward()
    assert_equal_gradients(model, reference, 1e-5)


@pytest.mark.parametrize("step", ["swiglu", "swiglu_backward"])
def test_a_pass_that_breaks_off_leaves_nothing_behind(step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    batch, model, fresh = pack(rows(LENGTHS["mixed"])), fitted(build()), fitted(build())
    fast_loss(model, pack(rows([50, 50]))).backward()  # so that all memory is there
    model.zero_grad()
    with monkeypatch.context() as patched:
        patched.setattr(kernels, step, interrupted)
        with pytest.raises(KeyboardInterrupt):
            fast_loss(model, batch).backward()
    model.zero_grad()  # the head's, which is there already
    for each in (model, fresh):
        fast_loss(each, batch).backward()
    assert_equal_gradients(model, fresh, 0.0)


@pytest.mark.parametrize("rounded", [False, True])
@pytest.mark.parametrize("lora", [False, True])
def test_nothing_is_read_that_was_freed_or_never_written(
    lora: bool, rounded: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    take, frame, give_back = Scratch.take, Scratch.frame, Pool.give_back

    def spoilt(scratch: Scratch, *shape: int, dtype: torch.dtype | None = None) -> torch.Tensor:
        return take(scratch, *shape, dtype=dtype).fill_(torch.nan)

    @contextmanager
    def left(scratch: Scratch) -> Iterator[None]:
        with frame(scratch):
            begin = scratch._used
            yield
            scratch._flat[begin : scratch._used].fill_(torch.nan)

    def idle(pool: Pool, buffers: Buffers) -> None:
        for memory in buffers._flat.values():
            memory.fill_(torch.nan)
        give_back(pool, buffers)

    def trained() -> Any:
        model = fitted(adapted(build()) if lora else build())
        for batch in (pack(rows([5, 9])), pack(rows([9, 30, 30])), pack(rows(LENGTHS["mixed"]))):
            with torch.autocast("cpu", torch.bfloat16, enabled=rounded):
                loss = fast_loss(model, batch)
            loss.backward()
        return model

    expected = trained()
    monkeypatch.setattr(Scratch, "take", spoilt)
    monkeypatch.setattr(Scratch, "frame", left)
    monkeypatch.setattr(Pool, "give_back", idle)
    assert_equal_gradients(trained(), expected, 0.0)


def test_passes_that_never_go_backward_change_no_other() -> None:
    batch, model, fresh = pack(rows(LENGTHS["mixed"])), fitted(build()), fitted(build())
    waiting = fast_loss(model, pack(rows([9, 30], 1)))
    dropped = fast_loss(model, batch)
    loss = fast_loss(model, batch)
    del dropped
    loss.backward()
    fast_loss(fresh, batch).backward()
    assert waiting.requires_grad
    assert_equal_gradients(model, fresh, 0.0)


def test_a_weight_that_is_written_to_in_between_is_refused_as_torch_does() -> None:
    model = fitted(adapted(build()))
    loss = fast_loss(model, pack(rows([5, 9])))
    with torch.no_grad():
        decoder(model).layers[0].mlp.up_proj.base_layer.weight.add_(0.1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


@pytest.mark.parametrize("rounded", [False, True])
def test_the_backward_pass_knows_which_adapters_were_on(rounded: bool) -> None:
    batch = pack(rows(LENGTHS["mixed"]))

    def found(*, off_in_between: bool) -> Any:
        model = fitted(adapted(build()).requires_grad_(True))
        with model.disable_adapter(), torch.autocast("cpu", torch.bfloat16, enabled=rounded):
            model.base_model.requires_grad_(True)
            without = fast_loss(model, batch)
            if off_in_between:
                without.backward()
        model.requires_grad_(True)
        if not off_in_between:
            without.backward()
        return model

    assert_equal_gradients(found(off_in_between=False), found(off_in_between=True), 0.0)


def test_a_pass_with_the_adapter_off_in_between_changes_nothing() -> None:
    batch, model, fresh = pack(rows(LENGTHS["mixed"])), fitted(adapted(build())), fitted(adapted(build()))
    loss = fast_loss(model, batch)
    with torch.no_grad(), model.disable_adapter():
        forward.token_log_probs(model, pack(rows([40, 3], 4)))
    loss.backward()
    fast_loss(fresh, batch).backward()
    assert_equal_gradients(model, fresh, 0.0)


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
    assert fast.takes_packs(other)
    forward.predictions(other, batch).sum().backward()
    assert other.model.embed_tokens.weight.grad.layout is torch.strided
    assert model.model.embed_tokens.weight.grad is None


def test_calls_without_packs_run_the_models_own_code() -> None:
    model = build().eval()
    ids = torch.tensor([[5, 6, 7, 8]])
    before = model(input_ids=ids).logits
    assert fast.fit(model)
    assert torch.equal(model(input_ids=ids).logits, before)
