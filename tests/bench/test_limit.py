from __future__ import annotations

import pytest

from realm.bench.cases import SUITES
from realm.bench.limit import BOUNDS, NUMBERS, Bound, gflops
from realm.bench.turns import Device


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("at_once", [1, 3])
def test_a_rate_is_measured(precision: str, at_once: int) -> None:
    bound = Bound(measure_s=0.01, at_once=at_once, shapes={})
    # No core of any machine does a billion million operations a second.
    assert 0 < gflops((64, 32, 48), bound, Device("cpu"), NUMBERS[precision]) < 1e6


def test_each_device_has_a_limit_of_its_own() -> None:
    assert set(BOUNDS) == set(SUITES)
    for bound in BOUNDS.values():
        for name, product in bound.shapes.items():
            assert name == " × ".join(map(str, product))


def test_the_models_own_products_are_among_them() -> None:
    for device, suite in SUITES.items():
        products = set(BOUNDS[device].shapes.values())
        for case in suite.cases("fp32"):
            shape = case.shape
            assert any(product[1:] == (shape.hidden_size, shape.intermediate_size) for product in products), (
                case.name
            )
