"""What a run may have: a processor's memory and how much it computes, measured or from its maker.

GB are 10⁹ bytes. Of a GPU that is not here the figures are those of its data sheet (dense bf16, no
sparsity); what a run achieves of them is in `estimate.py`.
"""

from __future__ import annotations

import difflib
import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

from pydantic import Field

from realm.core.errors import NotFoundError, RefusedError, UsageError
from realm.core.records import Record
from realm.training.precision import CPU_BF16, CPU_FACTS, cpu_flags
from realm.training.rules import Device

GB = 10**9


class Hardware(Record):
    """One or several equal devices."""

    name: str
    kind: Literal["cpu", "cuda"]
    memory_bytes: Annotated[int, Field(ge=0)]
    """That a run may fill, of each device."""
    host_bytes: Annotated[int, Field(ge=0)] | None = None
    """Memory of the machine beside the devices; none where it is not known."""
    count: Annotated[int, Field(ge=1)] = 1
    """Devices that share the weights of one run."""
    flops: Annotated[float, Field(gt=0)]
    """Multiplications and additions a second at its best: of a GPU in bf16, of a CPU's core in fp32."""
    bandwidth: Annotated[float, Field(gt=0)]
    """Bytes a second to the device's own memory."""
    half: bool = True
    """Whether it multiplies well in bf16."""

    @property
    def where(self) -> str:
        """Name it for a sentence."""
        each = " each" if self.count > 1 else ""
        return f"{self.name} ({self.memory_bytes / GB:.1f} GB{each})"


class Gpu(Record):
    """A GPU of this machine, as its driver tells of it."""

    name: str
    free_bytes: Annotated[int, Field(ge=0)]


class _Sheet(NamedTuple):
    memory_gb: float
    tera_flops: float
    bandwidth_gb: float


_GPUS = {
    "rtx3090": _Sheet(24, 71, 936),
    "rtx4090": _Sheet(24, 165, 1008),
    "rtx5090": _Sheet(32, 209, 1792),
    "l40s": _Sheet(48, 362, 864),
    "a100-40gb": _Sheet(40, 312, 1555),
    "a100": _Sheet(80, 312, 2039),
    "h100": _Sheet(80, 989, 3350),
    "h200": _Sheet(141, 989, 4800),
}
USUAL = "h100"
"""What is answered for where a GPU is asked for and none is here."""
_NAMED = re.compile(r"(?:([1-9]\d{0,2})x)?([a-z0-9-]+)")
_CPU_FLOPS = 110e9
"""A core's matrix products in fp32 (docs/LOG.md: 115 to 126 on big shapes)."""
_CPU_BANDWIDTH = 10e9
_CGROUP = Path("/sys/fs/cgroup")
_TOOL_S = 20.0


def named(name: str, memory_gb: float | None = None) -> Hardware:
    """Return hardware by name, such as `h100`, `8xh100` or `cuda` with `memory_gb`.

    Raises NotFoundError for an unknown name, UsageError where the memory is not known.
    """
    found = _NAMED.fullmatch(name.lower())
    count, model = (int(found[1] or 1), found[2]) if found else (1, name)
    if model == "cpu":
        if memory_gb is None:
            raise UsageError("--device cpu: how much memory?", hint="give --memory-gb, or leave --device out")
        return cpu(int(memory_gb * GB))
    if model == "cuda" and memory_gb is not None:
        near = min(_GPUS, key=lambda gpu: (abs(_GPUS[gpu].memory_gb - memory_gb), _GPUS[gpu].tera_flops))
        sheet = _GPUS[near]
    elif model in _GPUS:
        sheet = _GPUS[model]
    else:
        hint = f"there are: cpu, {', '.join(_GPUS)}, or cuda with --memory-gb; several as 8xh100"
        close = difflib.get_close_matches(model, _GPUS, n=1)
        raise NotFoundError(
            f"no hardware is called {name!r}", hint=f"did you mean {close[0]}? {hint}" if close else hint
        )
    return Hardware(
        name=f"{count} × {model}" if count > 1 else model,
        kind="cuda",
        memory_bytes=int((memory_gb or sheet.memory_gb) * GB),
        count=count,
        flops=sheet.tera_flops * 1e12,
        bandwidth=sheet.bandwidth_gb * GB,
    )


def refuse_missing(device: Device, ranks: int, found: Sequence[Gpu]) -> None:
    """Raise RefusedError where GPUs are asked for and a rank would have none of its own.

    `auto` asks for none on a machine that has none, and for one a rank on any other.
    """
    if device == "cpu" or (device == "auto" and not found):
        return
    if not found:
        ranked = f" for {ranks} ranks" if ranks > 1 else ""
        raise RefusedError(
            f"device cuda: nvidia-smi finds no GPU here{ranked}",
            hint="set rules.device to auto or cpu; CUDA_VISIBLE_DEVICES may hide a GPU",
        )
    if len(found) < ranks:
        there_are = "is 1 GPU" if len(found) == 1 else f"are {len(found)} GPUs"
        raise RefusedError(
            f"device {device}: {ranks} ranks were asked for, and there {there_are} here",
            hint=f"lower rules.launcher.processes to {len(found)}, or set rules.device to cpu; "
            "a GPU is not shared",
        )


def this_machine(device: Device, count: int, found: Sequence[Gpu]) -> Hardware | None:
    """Return what a run of `count` ranks may have here; none where it asks for a GPU and none was found."""
    gpus = () if device == "cpu" else found
    if not gpus:
        half = not CPU_BF16.isdisjoint(cpu_flags(CPU_FACTS))
        return None if device == "cuda" else cpu(free_memory(), half=half)
    name = gpus[0].name
    near = next((gpu for gpu in _GPUS if gpu.partition("-")[0] in name.lower().replace(" ", "")), "rtx3090")
    sheet = _GPUS[near]
    return Hardware(
        name=name,
        kind="cuda",
        memory_bytes=min(gpu.free_bytes for gpu in gpus) if count > 1 else gpus[0].free_bytes,
        host_bytes=free_memory(),
        count=count,
        flops=sheet.tera_flops * 1e12,
        bandwidth=sheet.bandwidth_gb * GB,
    )


def free_memory() -> int:
    """Return the bytes that this machine, or the container we are in, still has."""
    import psutil

    free: int = psutil.virtual_memory().available
    limit, used = (_figure(_CGROUP / name) for name in ("memory.max", "memory.current"))
    if limit is not None and used is not None:
        free = min(free, max(0, limit - used))
    return free


def _figure(path: Path) -> int | None:
    """Return the number in a file of the system; none where there is none."""
    if not path.is_file():
        return None
    text = path.read_text(encoding="ascii").strip()
    return int(text) if text.isdigit() else None


def gpus() -> tuple[Gpu, ...]:
    """Return the NVIDIA GPUs that a child may use, by their driver's own tool: torch is not loaded."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return ()
    asked = [tool, "--query-gpu=name,memory.free", "--format=csv,noheader,nounits"]
    done = subprocess.run(asked, capture_output=True, text=True, check=False, timeout=_TOOL_S)  # noqa: S603
    lines = [line.rpartition(",") for line in done.stdout.splitlines()] if done.returncode == 0 else []
    found = [
        Gpu(name=name.strip(), free_bytes=int(free) << 20)
        for name, _, free in lines
        if free.strip().isdigit()
    ]
    return visible(found, os.environ.get("CUDA_VISIBLE_DEVICES"))


def visible(found: Sequence[Gpu], chosen: str | None) -> tuple[Gpu, ...]:
    """Return the GPUs that `CUDA_VISIBLE_DEVICES` leaves; None leaves all.

    Numbers are read as CUDA does: what follows one that is no GPU's does not count. Of GPUs that are named
    in another way only how many there are is known. Not covered: parts of a GPU (MIG).
    """
    if chosen is None:
        return tuple(found)
    kept = list[Gpu]()
    for entry in map(str.strip, chosen.split(",")):
        named = len(kept) if entry.startswith(("GPU-", "MIG-")) else len(found)
        number = int(entry) if entry.isdecimal() else named
        if number >= len(found):
            break
        kept.append(found[number])
    return tuple(kept)


def cpu(memory_bytes: int, *, half: bool = False) -> Hardware:
    """Return a machine without a GPU that has so much memory free."""
    return Hardware(
        name="cpu",
        kind="cpu",
        memory_bytes=memory_bytes,
        flops=_CPU_FLOPS,
        bandwidth=_CPU_BANDWIDTH,
        half=half,
    )
