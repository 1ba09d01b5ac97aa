"""The child as a process: its exit code, its events, its signals."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tiny_runs import chat, drills, make_job

from realm.core.events import Failed
from realm.jobs.tail import EventTail
from realm.training.job import TrainJob

START = """
import sys
from pathlib import Path
from realm.training.child import main
sys.exit(main(Path(sys.argv[1])))
"""
FORK = """
import importlib, os, sys
from pathlib import Path
from realm.training.child import PRELOAD, main
for name in PRELOAD:
    importlib.import_module(name)
pid = os.fork()
if pid == 0:
    os._exit(main(Path(sys.argv[1])))
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""


def _spec(job: TrainJob) -> Path:
    path = Path(job.stages).parent / "spec.json"
    path.write_text(job.model_dump_json(), encoding="utf-8")
    return path


def _kinds(job: TrainJob) -> list[str]:
    return [event.kind for event in EventTail(Path(job.events)).read()]


def test_a_forked_child_trains_with_two_threads(tmp_path: Path) -> None:
    job = make_job(tmp_path, drills(8), steps=3, threads=2)
    done = subprocess.run(
        [sys.executable, "-c", FORK, _spec(job)], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert _kinds(job)[-2:] == ["checkpoint_staged", "run_finished"]


def test_terminate_means_save_and_leave(tmp_path: Path) -> None:
    job = make_job(tmp_path, drills(8), steps=1_000_000, saving={"every_steps": 1_000_000})
    child = subprocess.Popen([sys.executable, "-c", START, _spec(job)])
    give_up = time.monotonic() + 60
    while _kinds(job).count("step_taken") < 3 and time.monotonic() < give_up:
        time.sleep(0.05)
    child.send_signal(signal.SIGTERM)
    assert child.wait(timeout=60) == 0
    assert _kinds(job)[-2:] == ["checkpoint_staged", "run_interrupted"]


@pytest.mark.parametrize("start", ["start", "nowhere"])
def test_a_failure_is_told_as_an_event(tmp_path: Path, start: str) -> None:
    from realm.training.child import main

    job = make_job(tmp_path, [chat("a", "b<|user|>")])
    job = job.model_copy(update={"start": str(tmp_path / start)})
    before = signal.getsignal(signal.SIGTERM)
    try:
        assert main(_spec(job)) == 1
    finally:
        signal.signal(signal.SIGTERM, before)
    failed = EventTail(Path(job.events)).read()[-1]
    assert isinstance(failed, Failed)
    assert failed.error == ("MaskingError" if start == "start" else "NotFoundError")
    assert failed.what
