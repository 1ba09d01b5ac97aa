"""Ways in which children of these tests end."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from realm.core.events import Failed
from realm.jobs.tail import EventLog


def end(spec: Path) -> int:
    """Say what the spec says, in the log and as an error, then end by its signal or with its exit code."""
    wanted = json.loads(spec.read_text())
    print(wanted["said"], file=sys.stderr, flush=True)
    if wanted["error"]:
        log = EventLog(Path(wanted["events"]))
        log.emit(Failed(run="run-0001", error=wanted["error"], what="in the child's words"))
        log.close()
    if wanted["code"] < 0:
        os.kill(os.getpid(), -wanted["code"])
    return int(wanted["code"])
