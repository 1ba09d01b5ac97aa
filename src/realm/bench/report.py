"""What a benchmark found, as records."""

from __future__ import annotations

from typing import Any

from realm.core.records import Record


class PeerFigures(Record):
    """One peer in one case."""

    name: str
    settings: dict[str, Any]
    trained_positions_only: bool
    tokens_per_s: float
    trained_tokens_per_s: float
    peak_rss_mb: float
    speedup: float
    """Median over pairs: its time for a segment, divided by ours right before it."""
    pairs: int
    """One where it was more than twice as slow as the fastest peer."""
    setup_s: float
    loss_difference: float
    """Of its mean loss before the first step from ours."""


class CaseFigures(Record):
    """One case. Rates are those of the median segment."""

    name: str
    model: str
    vocab: int
    mode: str
    tokens_per_s: float
    """Real tokens, masked ones included, padding not."""
    trained_tokens_per_s: float
    peak_rss_mb: float
    """Above what the process holds after its imports."""
    speedup_vs_best_peer: float
    memory_ratio: float
    """Our peak divided by that of the best peer."""
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


class Machine(Record):
    """What it ran on."""

    cpu: str
    cores: int
    threads: int
    gemm_gflops: float
    """The best fp32 rate measured over all shapes and rounds, 10⁹ operations a second."""
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
