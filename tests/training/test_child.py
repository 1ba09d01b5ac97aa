"""The child as a process: its exit code, its events, its signals."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tiny_runs import chat, drills, make_job

from realm.core.events import Failed
from realm.jobs.children import Child, WarmLauncher
from realm.jobs.tail import EventTail
from realm.training.child import PRELOAD
from realm.training.job import TrainJob

ENTRY = "realm.training.child:main"


@pytest.fixture(scope="module")
def warm() -> Iterator[WarmLauncher]:
    """Fork children from one process that has imported what they need, as a worker does."""
    launcher = WarmLauncher(PRELOAD)
    yield launcher
    launcher.close()


def _spec(job: TrainJob) -> Path:
    path = Path(job.stages).parent / "spec.json"
    path.write_text(job.model_dump_json(), encoding="utf-8")
    return path


def _kinds(job: TrainJob) -> list[str]:
    return [event.kind for event in EventTail(Path(job.events)).read()]


def _end(child: Child) -> int:
    return asyncio.run(asyncio.wait_for(child.wait(), 60))


def test_a_forked_child_trains_with_two_threads(warm: WarmLauncher, tmp_path: Path) -> None:
    job = make_job(tmp_path, drills(8), steps=3, threads=2)
    child = warm.launch(ENTRY, _spec(job), tmp_path / "log.txt")
    assert _end(child) == 0, (tmp_path / "log.txt").read_text()
    assert _kinds(job)[-2:] == ["checkpoint_staged", "run_finished"]


def test_terminate_means_save_and_leave(warm: WarmLauncher, tmp_path: Path) -> None:
    job = make_job(tmp_path, drills(8), steps=1_000_000, saving={"every_steps": 1_000_000})
    child = warm.launch(ENTRY, _spec(job), tmp_path / "log.txt")
    give_up = time.monotonic() + 60
    while _kinds(job).count("step_taken") < 3 and time.monotonic() < give_up:
        time.sleep(0.05)
    child.terminate()
    assert _end(child) == 0, (tmp_path / "log.txt").read_text()
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
