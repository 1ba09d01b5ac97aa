"""Run the cases of a device: our engine, its peers and the limit of what they run on."""

from __future__ import annotations

import os
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path

import psutil

from realm.bench.cases import SUITES, Case, Computed, Suite
from realm.bench.contender import Contender
from realm.bench.course import Course, Plan, Say, environment_of
from realm.bench.environment import peers_python, requirements
from realm.bench.report import Machine, TrainReport
from realm.bench.turns import Where
from realm.core.errors import RefusedError, UnavailableError, UsageError
from realm.models.extra import require_training_extra
from realm.training.precision import Precision, choose

PAIRS = 5
QUICK_PAIRS = 3
PATIENCE = 2.0
"""Of a quick run."""


def measure(
    *,
    quick: bool,
    threads: int,
    rows: int | None,
    say: Say,
    device: Where = "cpu",
    precision: Precision = "auto",
) -> TrainReport:
    """Run a device's cases against TRL, whose environment is built if it is not there.

    `rows` chats in a segment, a multiple of what each case has in a step, instead of what it has; the CPU's
    in the precision asked for, a GPU's in their recipes'. Raises UnavailableError where there is no such
    device or the peers cannot be installed, RefusedError where a peer does not train what we train.
    """
    require_training_extra()
    if device == "cuda":
        require_gpu()
        if precision != "auto":
            raise UsageError("--precision is for the CPU: a GPU's cases compute in what their recipes name")
    suite = SUITES[device]
    wanted = segments(suite, computed(precision), quick=quick, rows=rows)
    python = peers_python(say, device)
    return run(wanted, plan_of(suite, device, python, quick=quick, threads=threads), say)


def require_gpu() -> None:
    """Raise UnavailableError unless torch reaches a GPU, RefusedError unless it multiplies in bf16."""
    import torch

    if not torch.cuda.is_available():
        why = "no GPU is found" if torch.version.cuda else "it is built without CUDA"
        raise UnavailableError(
            f"these cases need an NVIDIA GPU, and torch {torch.__version__} reaches none: {why}",
            hint="`nvidia-smi` shows the driver's view; without --device the cases of the CPU are run",
        )
    if not torch.cuda.is_bf16_supported(including_emulation=False):
        raise RefusedError(
            f"these cases train in bf16, which {torch.cuda.get_device_name()} does not multiply in",
            hint="a GPU of the Ampere generation or later is needed",
        )


def computed(precision: Precision) -> Computed:
    """Return what products are computed in on this CPU: what it does well, unless one is asked for."""
    import torch

    return choose(precision, torch.device("cpu")).name


def segments(suite: Suite, precision: Computed, *, quick: bool, rows: int | None) -> list[tuple[Case, int]]:
    """Return the cases, each with its chats in a segment. Raises UsageError where they fill no steps."""
    cases = suite.cases(precision)
    wanted = [(case, rows or (case.quick_rows if quick else case.rows)) for case in cases]
    for case, count in wanted:
        if count < case.batch_rows or count % case.batch_rows:
            raise UsageError(f"{count} chats: {case.name} needs a multiple of {case.batch_rows}")
    return wanted


def plan_of(suite: Suite, device: Where, python: Path, *, quick: bool, threads: int) -> Plan:
    """Return how a device's cases are run."""
    return Plan(
        pairs=QUICK_PAIRS if quick else PAIRS,
        threads=threads,
        python=python,
        peers=suite.peers,
        patience=PATIENCE if quick else None,
        device=device,
        warm_ups=suite.warm_ups,
        takes_turns=suite.takes_turns,
    )


def run(wanted: Sequence[tuple[Case, int]], plan: Plan, say: Say) -> TrainReport:
    """Run cases, each with its number of chats in a segment; say what is going on."""
    began = time.monotonic()
    rates: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="realm-bench-") as scratch, ExitStack() as stack:
        log = Path(scratch) / "limit.log"
        (precision,) = {case.precision for case, _ in wanted}
        settings = [str(plan.threads), plan.device, precision]
        command = [sys.executable, "-P", "-m", "realm.bench.limit", *settings]
        environment = environment_of(plan.threads, Path(scratch))
        limit = stack.enter_context(Contender("the limit", command, environment, log))

        def measure_limit() -> None:
            for shape, rate in limit.train().answer.items():
                rates[shape] = max(rate, rates.get(shape, 0.0))

        courses = []
        for case, rows in wanted:
            folder = Path(scratch) / case.name
            folder.mkdir()
            courses.append(Course(case, rows, plan, folder, say))
            courses[-1].run(measure_limit)
            shutil.rmtree(folder)
    peak = max(rates.values())
    return TrainReport(
        cases=tuple(course.figures(peak) for course in courses),
        machine=_machine(plan, limit.ready["device"], precision, rates),
        seconds=time.monotonic() - began,
    )


def _machine(plan: Plan, gpu: str | None, precision: Computed, rates: dict[str, float]) -> Machine:
    return Machine(
        cpu=_cpu(),
        cores=psutil.cpu_count(logical=False) or os.cpu_count() or 1,
        threads=plan.threads,
        gpu=gpu,
        precision=precision,
        gemm_gflops=max(rates.values()),
        gemm_shapes=rates,
        torch=version("torch"),
        python=platform.python_version(),
        system=platform.platform(),
        peers=requirements(plan.device),
    )


def _cpu() -> str:
    try:
        told = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in told.splitlines() if line.startswith("model name")]
    return names[0] if names else platform.machine()
