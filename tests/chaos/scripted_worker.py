"""A worker to be killed: each of its jobs writes saves through a child and ends with one effect.

`python scripted_worker.py FOLDER` works until the queue is idle. A job's child appends one line
a save to `<job>.saves` (flushed to disk) and resumes from the last whole one; when all are
there the step appends the effect, a digest over the saves, unless the job's effect exists.
A child that was killed is started again within the attempt, as a supervisor of training does.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from pathlib import Path

SAVES = 5
SAVE_S = 0.05


def write_saves(spec: Path) -> int:
    """Write the saves that are missing. Runs in a child."""
    path = spec.with_suffix(".saves")
    tear_off(path)
    written = len(path.read_bytes().splitlines()) if path.exists() else 0
    for number in range(written, SAVES):
        append(spec.with_suffix(".work"), f"{number}")
        time.sleep(SAVE_S)
        append(path, save_line(json.loads(spec.read_text())["seed"], number))
    return 0


def save_line(seed: int, number: int) -> str:
    return f"{number} {hashlib.sha256(f'{seed}/{number}'.encode()).hexdigest()}"


def effect_of(seed: int) -> str:
    """Return the effect that an undisturbed job has."""
    lines = "".join(save_line(seed, number) + "\n" for number in range(SAVES))
    return hashlib.sha256(lines.encode()).hexdigest()


def append(path: Path, line: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.write(descriptor, line.encode() + b"\n")
    os.fsync(descriptor)
    os.close(descriptor)


def tear_off(path: Path) -> None:
    """Cut what a killed writer left of a line."""
    if path.exists():
        data = path.read_bytes()
        os.truncate(path, data.rfind(b"\n") + 1)


def main(folder: Path) -> None:
    from realm.jobs.children import WarmLauncher
    from realm.jobs.queue import JobQueue
    from realm.jobs.worker import Outcome, StepContext, Worker

    launcher = WarmLauncher(["scripted_worker"])
    launcher.start()

    async def step(context: StepContext) -> Outcome:
        spec = folder / f"{context.job.id}.json"
        append(folder / "begun", context.job.id)
        spec.write_text(json.dumps(context.job.payload))
        code = -1
        while code != 0:
            child = launcher.launch("scripted_worker:write_saves", spec, folder / "child.log")
            (folder / "child.pid").write_text(str(child.pid))
            try:
                code = await child.wait()
            finally:
                child.kill()
        publish(folder, context.job.id, spec.with_suffix(".saves").read_bytes())
        return Outcome(state="done")

    queue = JobQueue(folder / "jobs.db")
    try:
        Worker(queue, {"script": step}).run(queue.idle)
    finally:
        launcher.close()


def publish(folder: Path, job: str, saves: bytes) -> None:
    """Record the effect once: an attempt that runs again finds it, as publishing by content does."""
    effects = folder / "effects"
    tear_off(effects)
    known = effects.read_text().splitlines() if effects.exists() else []
    if not any(line.startswith(f"{job} ") for line in known):
        append(effects, f"{job} {hashlib.sha256(saves).hexdigest()}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
