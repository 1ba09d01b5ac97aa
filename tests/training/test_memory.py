from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
import torch

from realm.models.adapters import decoder
from realm.training.memory import recompute_layers
from realm.training.parameter import PARAMETERS
from tiny_shapes import SHAPES, loss, model, tokens


def gradients(made: torch.nn.Module) -> tuple[dict[str, torch.Tensor], int]:
    """Return all gradients of a loss, and the bytes that its forward pass kept for them."""
    kept: dict[int, int] = {}

    def keep(value: torch.Tensor) -> torch.Tensor:
        kept[value.untyped_storage().data_ptr()] = value.untyped_storage().nbytes()
        return value

    own = {p.untyped_storage().data_ptr() for p in made.parameters()}
    made.zero_grad()
    torch.manual_seed(7)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda value: value):
        found = loss(made, tokens(rows=4, length=64))
    found.backward()
    held = sum(size for place, size in kept.items() if place not in own)
    return {name: p.grad for name, p in made.named_parameters() if p.grad is not None}, held


@pytest.mark.parametrize("kind", ["full", "lora"])
@pytest.mark.parametrize("shape", SHAPES)
def test_gradients_stay_and_less_is_kept(shape: str, kind: str) -> None:
    settings = {"kind": kind, "dropout": 0.1} if kind == "lora" else kind
    made: Any = PARAMETERS.build(settings).apply(model(shape), 0).train()
    wanted, everything = gradients(made)
    held = [everything]
    for every, layers in ((2, 1), (1, 2)):
        again = deepcopy(made)
        assert recompute_layers(again, every) == layers
        found, kept = gradients(again)
        assert found.keys() == wanted.keys()
        assert all(torch.equal(found[name], wanted[name]) for name in wanted)
        held.append(kept)
    assert held[2] < held[1] < held[0]
    assert held[2] < 0.5 * held[0]


def test_asked_twice_a_layer_is_computed_again_once() -> None:
    made = model("qwen3").train()
    recompute_layers(made, 2)
    forward = decoder(made).layers[0].forward
    assert recompute_layers(made, 1) == 2
    assert decoder(made).layers[0].forward is forward


def test_a_copy_computes_with_its_own_weights() -> None:
    made = model("qwen3").train()
    recompute_layers(made, 1)
    copy = deepcopy(made)
    with torch.no_grad():
        for parameter in decoder(copy).layers.parameters():
            parameter.zero_()
    assert not torch.equal(loss(copy, tokens()).detach(), loss(made, tokens()).detach())
