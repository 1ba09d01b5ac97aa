"""Which number format training computes in: what the device does well, unless one is asked for.

bf16 pays on GPUs that multiply in it, and on CPUs with instructions for it: AMX tiles, or AVX-512's, whose
products are 2.5 times as fast as fp32's (docs/LOG.md). Elsewhere torch converts numbers one by one, and
bf16 is slower than fp32.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from realm.core.errors import RefusedError

if TYPE_CHECKING:
    import torch

Precision = Literal["auto", "fp32", "bf16"]
CPU_FACTS = Path("/proc/cpuinfo")
"""Where Linux describes the CPU."""
_INSTRUCTIONS = {"amx_bf16": "AMX tiles", "avx512_bf16": "AVX-512 instructions"}
"""That multiply bf16, by Linux's names of them, best first."""
CPU_BF16 = frozenset(_INSTRUCTIONS)
_NAMES: dict[int, Literal["fp32", "bf16"]] = {4: "fp32", 2: "bf16"}
"""By bytes a number."""


class Chosen(NamedTuple):
    """A number format, and why."""

    dtype: torch.dtype
    reason: str

    @property
    def name(self) -> Literal["fp32", "bf16"]:
        """What recipes call it: fp32 or bf16."""
        return _NAMES[self.dtype.itemsize]


def choose(wanted: Precision, device: torch.device, cpu_facts: Path = CPU_FACTS) -> Chosen:
    """Return the dtype to compute in on this device. Raises RefusedError where it cannot."""
    import torch

    good, why = _bf16(device, cpu_facts)
    if wanted == "auto":
        return Chosen(torch.bfloat16 if good else torch.float32, why)
    if wanted == "bf16" and device.type == "cuda" and not good:
        raise RefusedError(f"precision bf16: {why}", hint="set precision: fp32")
    return Chosen(torch.bfloat16 if wanted == "bf16" else torch.float32, f"asked for; {why}")


def autocast(chosen: Chosen, device: torch.device) -> AbstractContextManager[object]:
    """Return a context in which matrix products are computed in the chosen format.

    Weights, gradients and moments keep their own, so that small steps are not rounded away.
    """
    import torch

    if chosen.dtype == torch.float32:
        return nullcontext()
    return torch.autocast(device.type, dtype=chosen.dtype)


def cpu_flags(facts: Path) -> frozenset[str]:
    """Return what Linux says this CPU can do; nothing on other systems."""
    if not facts.is_file():
        return frozenset()
    lines = facts.read_text(encoding="utf-8", errors="replace").splitlines()
    flags = next((line.partition(":")[2] for line in lines if line.startswith("flags")), "")
    return frozenset(flags.split())


def _bf16(device: torch.device, cpu_facts: Path) -> tuple[bool, str]:
    """Return whether the device computes well in bf16, and how that is known."""
    import torch

    if device.type == "cuda":
        good = torch.cuda.is_bf16_supported(including_emulation=False)
        name = torch.cuda.get_device_name(device)
        return good, f"{name} {'multiplies' if good else 'does not multiply'} in bf16"
    flags = cpu_flags(cpu_facts)
    found = next((name for flag, name in _INSTRUCTIONS.items() if flag in flags), None)
    return bool(found), f"this CPU has {found or 'no instructions'} for bf16"
