"""Whether the kernel killed a process because memory ran out.

Covered: Linux, where `/proc/vmstat` counts such kills over the whole machine. A kill of another
process at the same moment counts as well. Elsewhere nothing is known, and nothing is claimed.
"""

from __future__ import annotations

import signal
from pathlib import Path

_COUNTERS = Path("/proc/vmstat")
_KILLS = "oom_kill "


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
