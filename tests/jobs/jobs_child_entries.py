"""What the children of these tests do: small functions that never import torch."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path


def succeed(spec: Path) -> int:
    print("worked on", spec.name)
    return 0


def leave_with(spec: Path) -> int:
    return int(json.loads(spec.read_text())["code"])


def crash(spec: Path) -> int:
    raise ValueError("no such luck")


def sleep(spec: Path) -> int:
    time.sleep(600)
    return 0


def save_and_leave(spec: Path) -> int:
    asked: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: asked.append(number))
    spec.with_suffix(".ready").touch()
    while not asked:
        time.sleep(0.01)
    spec.with_suffix(".saved").touch()
    return 7


def have_a_child(spec: Path) -> int:
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    spec.with_suffix(".pid").write_text(str(child.pid))
    time.sleep(600)
    return 0


def show_surroundings(spec: Path) -> int:
    facts = {
        "environ": dict(os.environ),
        "proc": Path("/proc/self/environ").read_text(),
        "session": os.getsid(0) == os.getpid(),
        "modules": sorted(sys.modules),
        "files": [os.readlink(link) for link in Path("/proc/self/fd").iterdir() if link.exists()],
    }
    spec.with_suffix(".facts").write_text(json.dumps(facts))
    return 0
