"""Kill the processes of a real lab: `realm up`, the child that works for it, or both."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from typing import Literal

import psutil

Victim = Literal["worker", "child", "both"]
VICTIMS: tuple[Victim, ...] = ("worker", "child", "both")


def kill(process: subprocess.Popen[bytes], victim: Victim) -> int:
    """Kill the worker, the child that it started last, or both; return how many there were."""
    targets = [process.pid] if victim != "child" else []
    targets += newest_child(process) if victim != "worker" else []
    for pid in targets:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return len(targets)


def newest_child(process: subprocess.Popen[bytes]) -> list[int]:
    """Return the child that trains or answers, forked by what the worker started; empty without one.

    What a child starts itself, such as the process that renders templates, is not meant.
    """
    found: dict[float, int] = {}
    with contextlib.suppress(psutil.NoSuchProcess):
        for launcher in psutil.Process(process.pid).children():
            for child in launcher.children():
                if child.status() != psutil.STATUS_ZOMBIE:
                    found[child.create_time()] = child.pid
    return [found[max(found)]] if found else []
