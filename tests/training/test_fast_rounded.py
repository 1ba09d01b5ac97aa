"""The fast decoder and head under autocast: as near to fp32 as the plain path, and what must not be lost."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tiny_decoders import LENGTHS, adapted, build, fast_loss, fitted, plainly, rows, weights_of

from realm.training.batching import Batch, pack
from realm.training.fast import head as fast_head
from realm.training.fast.attention import Rows
from realm.training.fast.buffers import Buffers, Scratch
from realm.training.fast.products import Products
from realm.training.fast.projection import Projection
from realm.training.fast.run import Run

# Of PEFT (0.21), which still asks transformers by the old name.
pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")

torch.set_num_threads(1)


def rounding(*, on: bool = True) -> torch.autocast:
    return torch.autocast("cpu", dtype=torch.bfloat16, enabled=on)


def gradients(model: Any, loss: torch.Tensor) -> torch.Tensor:
    """All gradients in one vector."""
    loss.backward()
    found = [parameter.grad.flatten() for parameter in model.parameters() if parameter.grad is not None]
    for parameter in model.parameters():
        parameter.grad = None
    return torch.cat(found)


def plain_loss(model: Any, batch: Batch) -> torch.Tensor:
    return -(plainly(model, batch).float() * weights_of(batch)).sum()


def distance(found: torch.Tensor, exact: torch.Tensor) -> float:
    return float((found - exact).norm() / exact.norm())


@pytest.mark.parametrize("lora", [False, True])
@pytest.mark.parametrize("name", ["qwen3", "llama-biases"])
def test_it_is_as_near_to_fp32_as_the_plain_path_under_autocast(name: str, lora: bool) -> None:
    model, reference = build(name), build(name)
    if lora:
        model, reference = adapted(model), adapted(reference)
    batch = pack(rows(LENGTHS["mixed"]))
    loss = plain_loss(reference, batch)
    exact_loss, exact = float(loss.detach()), gradients(reference, loss)
    with rounding():
        loss = plain_loss(reference, batch)
    usual_loss, usual = float(loss.detach()), gradients(reference, loss)
    with rounding():
        loss = fast_loss(fitted(model), batch)
    found_loss, found = float(loss.detach()), gradients(model, loss)
    assert 0 < distance(found, exact) <= 1.1 * distance(usual, exact) < 0.05
    assert abs(found_loss - exact_loss) <= max(1.5 * abs(usual_loss - exact_loss), 1e-3 * exact_loss)


@pytest.mark.parametrize("name", ["qwen3", "llama"])
def test_weights_and_gradients_stay_in_fp32(name: str) -> None:
    model = fitted(build(name))
    with rounding():
        fast_loss(model, pack(rows(LENGTHS["mixed"]))).backward()
    kinds = {(parameter.dtype, parameter.grad.dtype) for parameter in model.parameters()}
    assert kinds == {(torch.float32, torch.float32)}


def test_double_precision_is_not_rounded() -> None:
    model, batch = fitted(build(dtype=torch.float64)), pack(rows(LENGTHS["mixed"]))
    found = []
    for on in (False, True):
        with rounding(on=on):
            found.append(gradients(model, fast_loss(model, batch)))
    assert torch.equal(*found)


def test_an_adapter_far_smaller_than_its_weight_is_not_lost() -> None:
    model = adapted(build(num_hidden_layers=1))
    module = model.base_model.model.model.layers[0].self_attn.q_proj
    with torch.no_grad():
        module.lora_B["default"].weight.mul_(
            3e-3
        )  # some thousandth of the weight, of which bf16 keeps 256ths
    projection, nothing = Projection(module), torch.empty(0)
    products = Products(Scratch(torch.float32), torch.float32, torch.bfloat16)
    rows_of_none = Rows((), 4, 2, torch.float32)
    run = Run(rows_of_none, (nothing, nothing), nothing, Buffers(torch.float32), products)
    x_NI = torch.randn(20_000, 32, generator=torch.Generator().manual_seed(0)).bfloat16().float()

    def output() -> torch.Tensor:
        out_NO = torch.empty(len(x_NI), projection.out_features)
        projection.forward(x_NI, [out_NO], run)
        return out_NO

    with torch.no_grad():
        change_NO = output()
        with model.disable_adapter():
            change_NO -= output()
        # Outputs are rounded too, each on its own: over many tokens that evens out, as a weight's would not.
        found_OI = torch.linalg.lstsq(x_NI, change_NO).solution.t()
        assert distance(found_OI, module.get_delta_weight("default")) < 0.2


@pytest.mark.parametrize("rows_a_tile", [1, 3, 100])
def test_the_heads_tiles_and_pieces_add_up(rows_a_tile: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fast_head, "LOGITS_AT_ONCE", rows_a_tile * 11)
    monkeypatch.setattr(fast_head, "_SOFTMAX_AT_ONCE", 2 * 11)
    monkeypatch.setattr(fast_head, "_WEIGHTS_AT_ONCE", 4 * 8)
    draw = torch.Generator().manual_seed(0)
    hidden_MC = torch.randn(7, 8, generator=draw).requires_grad_()
    weight_VC = torch.randn(11, 8, generator=draw).requires_grad_()
    targets_M = torch.tensor([0, 10, 3, 3, 5, 1, 3])
    weights_M = torch.rand(7, generator=draw)
    exact = fast_head.cross_entropy_sum(hidden_MC, weight_VC, targets_M, weights_M)
    with rounding():
        rounded = fast_head.cross_entropy_sum(hidden_MC, weight_VC, targets_M, weights_M)
        log_probs_M = fast_head.token_log_probs(hidden_MC, weight_VC, targets_M)
    assert rounded.dtype is log_probs_M.dtype is torch.float32
    assert float(rounded.detach()) == pytest.approx(float(exact.detach()), rel=0.01)
    losses = (exact, rounded, -(log_probs_M * weights_M).sum())
    right, *others = (torch.autograd.grad(2 * loss, (hidden_MC, weight_VC)) for loss in losses)
    for found in others:
        assert all(distance(*pair) < 0.02 for pair in zip(found, right, strict=True))


def test_what_a_nearly_certain_token_has_left_to_learn_is_not_lost() -> None:
    hidden_MC = torch.tensor([[8.0, 0.0]], requires_grad=True)
    weight_VC = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    with rounding():
        loss = fast_head.cross_entropy_sum(hidden_MC, weight_VC, torch.tensor([0]), torch.ones(1))
    loss.backward()
    # 1 less the target's share of .99966, for which bf16 has no number of its own.
    rest = 1 - 1 / (1 + torch.tensor(-8.0).exp())
    assert torch.allclose(hidden_MC.grad, torch.stack([-rest, rest])[None], rtol=0.01)
    assert float(loss.detach()) == pytest.approx(float(rest), rel=0.01)


def test_two_runs_give_equal_bits() -> None:
    def trained() -> list[torch.Tensor]:
        model = fitted(adapted(build()))
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
        for step in range(3):
            optimizer.zero_grad()
            with rounding():
                loss = fast_loss(model, pack(rows([9, 30, 5 + step], step)))
            loss.backward()
            optimizer.step()
        return [parameter.detach() for parameter in model.parameters()]

    assert all(map(torch.equal, trained(), trained()))


def test_packs_that_shrink_and_grow_share_memory_of_both_formats() -> None:
    given = [rows([5, 9], 1), rows([30, 40, 7], 2), rows([3, 3], 3), rows([30, 40, 7], 2)]
    model, found = fitted(build()), []
    for several in given:
        with rounding():
            found.append(gradients(model, fast_loss(model, pack(several))))
    assert torch.equal(found[1], found[3])
    fresh = fitted(build())
    with rounding():
        assert torch.equal(gradients(fresh, fast_loss(fresh, pack(given[2]))), found[2])
    assert len({float(each.sum()) for each in found}) == 3
