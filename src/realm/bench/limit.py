"""The machine's limit: how fast it multiplies fp32 matrices, big ones and those of the model.

python -m realm.bench.limit THREADS
"""

from __future__ import annotations

import sys
import time
from typing import Any

from realm.bench.pipe import Pipe

SHAPES = {
    "2048 × 2048 × 2048": (2048, 2048, 2048),
    "4096 × 1024 × 4096": (4096, 1024, 4096),
    "2560 × 256 × 768": (2560, 256, 768),
    "2560 × 768 × 256": (2560, 768, 256),
    "1024 × 256 × 8192": (1024, 256, 8192),
}
"""Rows, inputs, columns. The last three are the model's MLP and a piece of its head."""
_MEASURE_S = 0.25


def main() -> None:
    """Measure all shapes whenever told to."""
    pipe = Pipe()
    import realm.models  # noqa: F401 - first: it sets the environment of torch's threads

    import torch  # isort: skip

    torch.set_num_threads(int(sys.argv[1]))
    pipe.tell({"imported": True})
    pipe.tell({"ready": {}})

    def rates() -> dict[str, Any]:
        return {name: _gflops(*shape) for name, shape in SHAPES.items()}

    pipe.serve(rates)


def _gflops(rows: int, inputs: int, columns: int) -> float:
    """Return the best rate seen within a quarter of a second, in 10⁹ operations a second."""
    import torch

    left, right = torch.randn(rows, inputs), torch.randn(inputs, columns)
    out = torch.empty(rows, columns)
    torch.mm(left, right, out=out)
    best, end = float("inf"), time.perf_counter() + _MEASURE_S
    while time.perf_counter() < end:
        began = time.perf_counter()
        torch.mm(left, right, out=out)
        best = min(best, time.perf_counter() - began)
    return 2e-9 * rows * inputs * columns / best


if __name__ == "__main__":
    main()
