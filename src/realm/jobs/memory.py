"""Whether a process ended because memory ran out: killed by the kernel, or by its own hand.

Covered: Linux, where `/proc/vmstat` counts kills for memory over the whole machine; a kill of another
process at the same moment counts as well. Elsewhere nothing is known of kills, and nothing is claimed.

Libraries in other languages raise nothing when an allocation fails: they say so and abort or leave.
These are known by what they said. Code that uses memory it was not given says nothing (signal 11). Under a
limit of this process's own (`ulimit -v`) that may be want of memory as well as a fault: an allocation that
fails leaves no trace in what a process held, however far below the limit that was. So both are named then.
Under the limit of a control group no allocation fails; the kernel kills, and counts.
"""

from __future__ import annotations

import re
import resource
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

_LIMITS = (resource.RLIMIT_AS, resource.RLIMIT_DATA)


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


def allocation_limit() -> int | None:
    """Return the bytes above which allocations of this process fail, and of its children; None: no limit."""
    found = [resource.getrlimit(which)[0] for which in _LIMITS]
    return min((limit for limit in found if limit != resource.RLIM_INFINITY), default=None)


def how_it_ended(exit_code: int, limit: int | None) -> tuple[str, str]:
    """Return how a child ended that said nothing, and what to do about it where that is not plain.

    `limit` is what `allocation_limit` returns where it ran.
    """
    if exit_code >= 0:
        return f"ended with code {exit_code}", ""
    how = f"was killed by signal {-exit_code}"
    if exit_code != -signal.SIGSEGV or limit is None:
        return how, ""
    return (
        f"{how} under a memory limit of {limit / 1e9:.1f} GB: for want of memory, or by a fault",
        "raise the limit (ulimit -v and -d) or make packs smaller (rules.memory.tokens_at_once); "
        "if it dies as before, it is a fault; ",
    )
