"""Processes that die with the one that started them, so that no orphan keeps the device.

Covered: the starter ends in any way, kill -9 included. Not covered: a process that leaves its
session on purpose, and a grandchild when its parent and the one that sweeps up after it (see
`children`) are killed in the same instant.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
import time
from contextlib import suppress

_PR_SET_PDEATHSIG = 1
_CHECK_S = 0.2


def die_with(parent: int, number: signal.Signals = signal.SIGKILL) -> None:
    """Have the system send this process a signal as soon as its parent ends.

    On Linux the parent is the *thread* that started this process, so a starter must use a thread
    that lives as long as the child. Elsewhere a thread of this process looks every 0.2 s.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, int(number), 0, 0, 0)
        if os.getppid() != parent:
            os.kill(os.getpid(), number)
        return
    threading.Thread(target=_watch, args=(parent, number), daemon=True).start()


def end_group(leader: int) -> None:
    """Kill whatever is left in the session that a process led."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)


def _watch(parent: int, number: signal.Signals) -> None:
    while os.getppid() == parent:
        time.sleep(_CHECK_S)
    os.kill(os.getpid(), number)
