"""The limit of the machine or of its GPU: how fast it multiplies matrices, big ones and the model's.

python -m realm.bench.limit THREADS DEVICE PRECISION
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

from realm.bench.pipe import Pipe
from realm.bench.turns import Device, Where

Product = tuple[int, int, int]
"""Rows, inputs, columns."""


class Bound(NamedTuple):
    """How a device is measured."""

    measure_s: float
    """How long each shape is tried."""
    at_once: int
    """Products between two looks at the clock; a GPU is told of several before it has done one."""
    shapes: Mapping[str, Product]


BOUNDS: Mapping[Where, Bound] = {
    "cpu": Bound(
        measure_s=0.25,
        at_once=1,
        # The last three are the model's MLP and a piece of its head.
        shapes={
            "2048 × 2048 × 2048": (2048, 2048, 2048),
            "4096 × 1024 × 4096": (4096, 1024, 4096),
            "2560 × 256 × 768": (2560, 256, 768),
            "2560 × 768 × 256": (2560, 768, 256),
            "1024 × 256 × 8192": (1024, 256, 8192),
        },
    ),
    "cuda": Bound(
        measure_s=0.5,
        at_once=8,
        # Two big ones; the MLPs of a short pack at 0.6 B and of a long row at 8 B; a piece of a head.
        shapes={
            "8192 × 8192 × 8192": (8192, 8192, 8192),
            "16384 × 8192 × 8192": (16_384, 8192, 8192),
            "4096 × 1024 × 3072": (4096, 1024, 3072),
            "4096 × 3072 × 1024": (4096, 3072, 1024),
            "65536 × 4096 × 12288": (65_536, 4096, 12_288),
            "65536 × 12288 × 4096": (65_536, 12_288, 4096),
            "2048 × 4096 × 151936": (2048, 4096, 151_936),
        },
    ),
}
"""By device."""
NUMBERS = {"fp32": "float32", "bf16": "bfloat16"}
"""torch's name of what is multiplied, by the recipes'."""


def main() -> None:
    """Measure all shapes whenever told to."""
    pipe = Pipe()
    import realm.models  # noqa: F401 - first: it sets the environment of torch's threads

    import torch  # isort: skip

    torch.set_num_threads(int(sys.argv[1]))
    device = Device("cuda" if sys.argv[2] == "cuda" else "cpu")
    bound, numbers = BOUNDS[device.name], NUMBERS[sys.argv[3]]
    pipe.tell({"imported": True})
    pipe.tell({"ready": {"device": device.model}})

    def rates() -> dict[str, Any]:
        found = {name: gflops(product, bound, device, numbers) for name, product in bound.shapes.items()}
        device.free()
        return found

    pipe.serve(rates)


def gflops(product: Product, bound: Bound, device: Device, numbers: str) -> float:
    """Return the best rate seen while it was tried, in 10⁹ operations a second."""
    import torch

    rows, inputs, columns = product
    settings: dict[str, Any] = {"dtype": getattr(torch, numbers), "device": device.name}
    left, right = torch.randn(rows, inputs, **settings), torch.randn(inputs, columns, **settings)
    out = torch.empty(rows, columns, **settings)
    torch.mm(left, right, out=out)
    device.wait()
    best, end = float("inf"), time.perf_counter() + bound.measure_s
    while time.perf_counter() < end:
        began = time.perf_counter()
        for _ in range(bound.at_once):
            torch.mm(left, right, out=out)
        device.wait()
        best = min(best, time.perf_counter() - began)
    return 2e-9 * rows * inputs * columns * bound.at_once / best


if __name__ == "__main__":
    main()
