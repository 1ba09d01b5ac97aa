"""`realm bench`: how fast the engine is here, against its peers and the machine's limit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

import typer

from realm.cli.groups import add_group
from realm.cli.options import Options
from realm.cli.output import print_json, print_line, print_table

if TYPE_CHECKING:
    from realm.bench.report import CaseFigures, PeerFigures, TrainReport


def register(app: typer.Typer) -> None:
    """Add the commands."""
    add_group(app, "bench", "Measure how fast Realm is on this machine.", {"train": train})


def train(
    ctx: typer.Context,
    quick: bool = typer.Option(False, "--quick", help="Fewer chats and three pairs."),
    device: Literal["cpu", "cuda"] = typer.Option(
        "cpu", help="Which cases: the four small ones of the CPU, or the two of an NVIDIA GPU."
    ),
    precision: Literal["auto", "fp32", "bf16"] = typer.Option(
        "auto",
        help="What this engine multiplies in on the CPU: what the CPU does well. Where that is bf16, "
        "TRL trains in both.",
    ),
    threads: int | None = typer.Option(None, min=1, help="CPU threads of every contender; all cores."),
    rows: int | None = typer.Option(
        None, min=32, help="Chats in a segment, a multiple of 32; by default it depends on the case."
    ),
) -> None:
    """Train the same chats with this engine and with TRL, in turns, and compare. Needs no realm.

    The first call builds an environment for TRL in the cache folder ($REALM_CACHE, else
    $XDG_CACHE_HOME/realm, else ~/.cache/realm): some minutes and 2 GB, for a GPU about 10 GB. Nothing
    else is written. See docs/bench.md.

    Example: realm bench train --quick

    Example: realm bench train --precision fp32

    Example: realm bench train --device cuda

    Example: realm --json bench train > bench.json
    """
    import psutil

    from realm.bench.train import measure

    options: Options = ctx.obj
    cores = psutil.cpu_count(logical=False) or psutil.cpu_count() or 1
    with _progress() as say:
        report = measure(
            quick=quick, threads=threads or cores, rows=rows, say=say, device=device, precision=precision
        )
    if options.json:
        print_json(report)
    else:
        _print_report(report)


@contextmanager
def _progress() -> Iterator[Callable[[str], None]]:
    """Say on stderr what is going on: one moving line on a terminal, a line each elsewhere."""
    from rich.console import Console
    from rich.markup import escape

    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda text: console.print(text, markup=False, highlight=False, soft_wrap=True)
        return
    with console.status("starting") as status:
        yield lambda text: status.update(escape(text))


def _print_report(report: TrainReport) -> None:
    machine = report.machine
    where = f"{machine.cpu}, {machine.cores} cores, {machine.threads} threads, torch {machine.torch}"
    rate = f"{machine.gemm_gflops:,.0f} GFLOP/s {machine.precision} at most"
    print_line(f"{f'{machine.gpu}, {where}' if machine.gpu else where}: {rate}\n")
    print_table(
        ["case", "contender", "tokens/s", "trained/s", "peak MB", "ours is", "pairs", "set-up s"],
        _lines(report),
        empty="No case was run.",
    )
    print_line("")
    for case in report.cases:
        print_line(
            f"{case.name}: {case.speedup_vs_best_peer:.2f} × the best peer ({case.best_peer}), "
            f"{case.memory_ratio:.2f} of its memory, {case.utilisation:.0%} of the machine's limit"
        )
        for peer in case.left_out or ():
            print_line(f"{case.name}: {peer.name} could not run: {peer.reason.splitlines()[-1]}")


def _lines(report: TrainReport) -> Iterator[tuple[object, ...]]:
    for case in report.cases:
        yield case.name, "this engine", *_rates(case), "", case.pairs, f"{case.setup_s:.0f}"
        for peer in case.peers:
            yield "", peer.name, *_rates(peer), f"{peer.speedup:.2f} ×", peer.pairs, f"{peer.setup_s:.0f}"
        yield "", "limit", f"{case.limit_tokens_per_s:,.0f}", "", "", f"{case.utilisation:.0%}", "", ""


def _rates(figures: CaseFigures | PeerFigures) -> tuple[str, str, str]:
    """Show speed and memory: the GPU's where it ran there."""
    peak = figures.peak_device_mb or figures.peak_rss_mb
    return f"{figures.tokens_per_s:,.0f}", f"{figures.trained_tokens_per_s:,.0f}", f"{peak:,.0f}"
