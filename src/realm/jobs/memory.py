"""Whether a process ended because memory ran out: killed by the kernel, or by its own hand.

Covered: Linux, where `/proc/vmstat` counts kills for memory over the whole machine; a kill of another
process at the same moment counts as well. Elsewhere nothing is known of kills, and nothing is claimed.

Libraries in other languages raise nothing when an allocation fails: they say so and abort or leave.
These are known by what they said. Not covered: code that uses memory it was not given (signal 11).
"""

from __future__ import annotations

import re
import signal
from pathlib import Path

_COUNTERS = Path("/proc/vmstat")
_KILLS = "oom_kill "
_SAID = re.compile(
    r"std::bad_alloc"  # C++
    r"|memory allocation of \d+ bytes failed"  # Rust
    r"|[Cc]an(?:not|'t) allocate memory"  # the C library's word for ENOMEM; torch
    r"|libgomp: Out of memory"
    r"|Memory allocation still failed"  # OpenBLAS
    r"|^MemoryError\b",  # Python, before or after our own code runs
    re.MULTILINE,
)


def kernel_kills(counters: Path = _COUNTERS) -> int | None:
    """Return how many processes the kernel has killed for memory since the machine started."""
    try:
        lines = counters.read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    return next((int(line.removeprefix(_KILLS)) for line in lines if line.startswith(_KILLS)), None)


def killed_for_memory(exit_code: int, before: int | None, after: int | None) -> bool:
    """Say whether a child that ended with this code was killed for memory between two counts."""
    return exit_code == -signal.SIGKILL and before is not None and after is not None and after > before


def starved(exit_code: int, said: str) -> bool:
    """Say whether a child that raised nothing ended itself over an allocation, by what it said last."""
    by_itself = exit_code == -signal.SIGABRT or exit_code > 0
    return by_itself and _SAID.search(said) is not None
