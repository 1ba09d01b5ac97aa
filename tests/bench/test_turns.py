from __future__ import annotations

import pytest
import torch

from realm.bench.turns import Device, Where


def _trained(device: str) -> tuple[torch.nn.Module, torch.optim.Optimizer]:
    model = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.BatchNorm1d(4)).to(device)
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.randn(3, 4, device=device)).sum().backward()
    optimizer.step()
    return model, optimizer


def _held(model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> list[torch.Tensor]:
    moments = [state[key] for state in optimizer.state.values() for key in ("exp_avg", "exp_avg_sq")]
    return [*model.parameters(), *model.buffers(), *moments]


def _there_and_back(name: Where) -> None:
    model, optimizer = _trained(name)
    device = Device(name)
    objects = [id(parameter) for parameter in model.parameters()]
    values = [tensor.detach().clone() for tensor in _held(model, optimizer)]
    device.rest(model, optimizer)
    assert {tensor.device.type for tensor in _held(model, optimizer)} == {"cpu"}
    assert all(parameter.grad is None for parameter in model.parameters())
    device.wake(model, optimizer)
    assert {tensor.device.type for tensor in _held(model, optimizer)} == {name}
    assert objects == [id(parameter) for parameter in model.parameters()]
    assert all(map(torch.equal, values, _held(model, optimizer)))


def test_a_model_and_its_moments_come_back_as_they_were() -> None:
    _there_and_back("cpu")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
def test_a_gpu_is_left_and_taken_again() -> None:
    _there_and_back("cuda")
    assert Device("cuda").memory()["peak_device_mb"] > 0
    assert Device("cuda").model


def test_a_cpu_tells_of_no_device() -> None:
    device = Device("cpu")
    assert device.model is None
    assert device.memory() == {}
    device.free()
