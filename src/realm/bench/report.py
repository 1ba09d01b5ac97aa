"""What a benchmark found, as records."""

from __future__ import annotations

from typing import Any

from pydantic import SerializerFunctionWrapHandler, model_serializer

from realm.core.records import Record


class _Figures(Record):
    """Figures, some of which there are on a GPU alone: written only where there are any."""

    @model_serializer(mode="wrap")
    def _found(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {name: value for name, value in write(self).items() if value is not None}


class PeerFigures(_Figures):
    """One peer in one case."""

    name: str
    settings: dict[str, Any]
    trained_positions_only: bool
    tokens_per_s: float
    trained_tokens_per_s: float
    peak_rss_mb: float
    peak_device_mb: float | None = None
    """The most memory on the GPU that its tensors took, as torch counts it."""
    speedup: float
    """Median over pairs: its time for a segment, divided by ours right before it."""
    pairs: int
    """One, in a quick run, where it was more than twice as slow as the fastest peer."""
    setup_s: float
    loss_difference: float
    """Of its mean loss before the first step from ours."""


class LeftOut(Record):
    """A peer that could not run."""

    name: str
    reason: str


class CaseFigures(_Figures):
    """One case. Rates are those of the median segment."""

    name: str
    model: str
    vocab: int
    mode: str
    tokens_per_s: float
    """Real tokens, masked ones included, padding not."""
    trained_tokens_per_s: float
    peak_rss_mb: float
    """In host memory, above what the process holds after its imports."""
    peak_device_mb: float | None = None
    """The most memory on the GPU that our tensors took, as torch counts it."""
    speedup_vs_best_peer: float
    memory_ratio: float
    """Our peak divided by that of the best peer; of memory on the GPU where the case ran there."""
    utilisation: float
    """Share of the machine's measured peak that the operations which must be computed take."""
    best_peer: str
    """The one with the shortest median segment."""
    pairs: int
    setup_s: float
    parameters: int
    trained_parameters: int
    rows: int
    """Chats in a segment."""
    steps: int
    tokens: int
    trained_tokens: int
    gflop: float
    """That must be computed for a segment."""
    limit_tokens_per_s: float
    """At the machine's measured peak."""
    first_loss: float
    peers: tuple[PeerFigures, ...]
    left_out: tuple[LeftOut, ...] | None = None
    """Peers that could not run here, such as for want of memory."""


class Machine(_Figures):
    """What it ran on."""

    cpu: str
    cores: int
    threads: int
    gpu: str | None = None
    """None where the cases ran on the CPU."""
    precision: str
    """What our side computes products in, and what the limit was measured in: fp32 or bf16."""
    gemm_gflops: float
    """The best rate measured over all shapes and rounds, 10⁹ operations a second."""
    gemm_shapes: dict[str, float]
    """The same by shape: rows × inputs × columns."""
    torch: str
    python: str
    system: str
    peers: tuple[str, ...]
    """Packages of the peers' environment."""


class TrainReport(Record):
    """The answer of `realm bench train`."""

    cases: tuple[CaseFigures, ...]
    machine: Machine
    seconds: float
