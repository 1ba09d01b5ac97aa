"""Kill the worker, its child or both at random moments: every job still ends exactly once."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
import scripted_worker

from realm.core.records import Priority
from realm.core.seeds import fraction, rng
from realm.jobs.queue import JobQueue, JobState

KILLS = 84
JOBS = 24
FATES = ("worker", "child", "both")


def start(folder: Path) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PYTHONPATH": str(Path(scripted_worker.__file__).parent)}
    with (folder / "worker.log").open("ab") as log:
        arguments = [sys.executable, scripted_worker.__file__, str(folder)]
        return subprocess.Popen(arguments, env=environment, stdout=log, stderr=log)


def strike(folder: Path, worker: subprocess.Popen[bytes], fate: str) -> int:
    """Kill what fate says, see that nothing is left behind, and return how many were hit."""
    family = descendants(worker)
    hits = 0
    if fate in {"child", "both"}:
        hits += kill_child(folder, family)
    if fate in {"worker", "both"} and worker.poll() is None:
        worker.kill()
        worker.wait()
        hits += 1
        deadline = time.monotonic() + 2.0
        while not all(is_gone(process) for process in family):
            assert time.monotonic() < deadline, "an orphan outlived its worker"
            time.sleep(0.005)
    return hits


def is_gone(process: psutil.Process) -> bool:
    """A zombie that nobody has reaped yet works no more."""
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def descendants(worker: subprocess.Popen[bytes]) -> list[psutil.Process]:
    try:
        return psutil.Process(worker.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def kill_child(folder: Path, family: list[psutil.Process]) -> int:
    """Kill the child that the step started last, never a process that took over its number."""
    try:
        pid = int((folder / "child.pid").read_text())
    except (OSError, ValueError):
        return 0
    for process in family:
        if process.pid == pid:
            with suppress(psutil.NoSuchProcess):
                process.kill()
                return 1
    return 0


def top_up(queue: JobQueue, added: list[str]) -> None:
    """Keep work in the queue on a fast machine too; the newest of the lowest priority run last."""
    while len(queue.owed()) < 4:
        name = f"extra-{len(added):02}"
        queue.add(name, "script", {"seed": len(added)}, priority=Priority.LOW)
        added.append(name)


@pytest.mark.chaos
@pytest.mark.timeout(400)
def test_every_job_ends_exactly_once_whatever_is_killed(tmp_path: Path) -> None:
    began = time.monotonic()
    queue = JobQueue(tmp_path / "jobs.db")
    for number in range(JOBS):
        priority = list(Priority)[number % 3]
        queue.add(f"job-{number:02}", "script", {"seed": number}, priority=priority)
    added = [job.id for job in queue.list()]

    kills = restarts = rounds = 0
    worker = start(tmp_path)
    while kills < KILLS:
        rounds += 1
        top_up(queue, added)
        # Start-up takes part of the time too: kills fall into imports, launch, recovery and work.
        time.sleep(0.1 + 1.1 * fraction("moment", rounds))
        kills += strike(tmp_path, worker, FATES[rng("fate", rounds).randrange(3)])
        if worker.poll() is not None:
            restarts += 1
            worker = start(tmp_path)
    while not queue.idle():
        if worker.poll() is not None:
            assert worker.returncode == 0, (tmp_path / "worker.log").read_text()
            worker = start(tmp_path)
        time.sleep(0.05)
    assert worker.wait(30) == 0, (tmp_path / "worker.log").read_text()

    effects = [line.split() for line in (tmp_path / "effects").read_text().splitlines()]
    assert sorted(name for name, _ in effects) == sorted(added)
    repeated = 0
    for name, digest in effects:
        job = queue.get(name)
        assert (job.state, job.attempt) == (JobState.DONE, 1)
        assert digest == scripted_worker.effect_of(job.payload["seed"])
        repeated += len((tmp_path / f"{name}.work").read_text().split()) - scripted_worker.SAVES
    assert list(dict.fromkeys((tmp_path / "begun").read_text().split())) == added
    assert kills >= KILLS
    assert repeated <= kills
    queue.close()
    print(
        f"\n{kills} kills, {restarts} restarts, {len(added)} jobs, "
        f"{repeated} save intervals repeated, {time.monotonic() - began:.0f} s"
    )
