"""Pause, resume, stop, and what happens when training itself goes wrong."""

from __future__ import annotations

import re
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from realm import Realm
from realm.core.events import StepTaken
from realm.core.records import ArtifactKind
from realm.jobs.queue import Job, JobState
from tiny_lab import (
    FILE_RECIPE,
    chat_rows,
    drop,
    job_state,
    lab_up,
    make_lab,
    realm,
    realm_json,
    trained_here,
    wait_until,
)

ROWS = 800
"""Steps of milliseconds: a run has to last until it is seen and held still."""
STEPS = ROWS // 4
LONG = FILE_RECIPE.replace("every_steps: 10", "every_steps: 1000")
assert LONG != FILE_RECIPE
TOLD_TIMEOUT_S = 60.0


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Yield a home whose lab is up, so that one process imports what training needs, once for two tests."""
    home = make_lab(tmp_path_factory.mktemp("steered") / "home", drills=False)
    with lab_up(home):
        yield home


def use_recipe(home: Path, text: str) -> None:
    (home / "recipes" / "study.yaml").write_text(text)


def run_of(home: Path, file: str) -> str:
    """Return the run of a file that was dropped."""
    wait_until(home, lambda lab: any(run.title == file for run in lab.runs()))
    with Realm(home) as lab:
        return next(run.id for run in lab.runs() if run.title == file)


def steps(lab: Realm, run: str = "run-0001") -> int:
    events = [event for event in lab.watch(run, follow=False) if isinstance(event, StepTaken)]
    return max((event.step for event in events), default=0)


def train_here(home: Path, rows: str, name: str = "mine.jsonl") -> Job:
    (home / name).write_text(rows)
    return trained_here(home, home / name)


def train_undisturbed(home: Path) -> str:
    assert train_here(home, chat_rows(ROWS)).state is JobState.DONE
    return last_of_run(home)


def last_of_run(home: Path) -> str:
    with Realm(home) as lab:
        checkpoint = lab.checkpoints()[-1]
        lab.lab.store.verified(ArtifactKind.CHECKPOINT, checkpoint.hash)
        return checkpoint.hash


@contextmanager
def held_still(home: Path, run: str) -> Iterator[psutil.Process]:
    """Hold the process of a run still once it has taken some steps: it cannot end while commands start."""
    wait_until(home, lambda lab: steps(lab, run) >= 5)
    with Realm(home) as lab:
        holder = lab.status().holder
    assert holder is not None
    [child] = [child for zygote in psutil.Process(holder.pid).children() for child in zygote.children()]
    child.suspend()
    try:
        yield child
    finally:
        with suppress(psutil.NoSuchProcess):  # it was let go, and has left
            child.resume()


def told_to_leave(child: psutil.Process) -> bool:
    """Tell whether a process that is held still will find a SIGTERM when it goes on."""
    pending = re.search(r"^ShdPnd:\s*(\w+)", Path(f"/proc/{child.pid}/status").read_text(), re.MULTILINE)
    assert pending is not None
    return bool(int(pending[1], 16) >> (signal.SIGTERM - 1) & 1)


def ask_to_leave(child: psutil.Process, home: Path, *words: str) -> Any:
    """Run a command that ends a run; the run goes on when it is told to. Return the command's document."""
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(realm_json, home, *words)
        deadline = time.monotonic() + TOLD_TIMEOUT_S
        while not told_to_leave(child) and time.monotonic() < deadline:
            time.sleep(0.01)
        child.resume()
        return answer.result()


def test_a_paused_run_frees_the_device_and_resumes_bit_for_bit(tmp_path: Path) -> None:
    expected = train_undisturbed(make_lab(tmp_path / "undisturbed", drills=False, file_recipe=LONG))

    home = make_lab(tmp_path / "paused", drills=False, file_recipe=LONG)
    with lab_up(home):
        drop(home, "mine.jsonl", chat_rows(ROWS))
        wait_until(home, lambda lab: bool(lab.runs()))
        with held_still(home, "run-0001") as child:
            assert realm(home, "queue", "retry", "run-0001").returncode == 1  # refused, and harms nothing
            job = ask_to_leave(child, home, "run", "pause")
        assert job["state"] == "paused"
        with Realm(home) as lab:
            paused_at = steps(lab)
            newest = lab.lab.ledger.checkpoints.latest_of_run("run-0001")
            assert newest is not None
            assert newest.step == paused_at < STEPS  # saved at the very step it had reached
        assert realm(home, "run", "pause").returncode == 3  # nothing runs any more
        assert realm_json(home, "run", "resume")["state"] == "queued"
        wait_until(home, lambda lab: job_state(lab, "run-0001") == "done")
        with Realm(home) as lab:
            taken = [e.step for e in lab.watch("run-0001", follow=False) if isinstance(e, StepTaken)]
    assert sorted(taken) == list(range(1, STEPS + 1))  # no step lost, none repeated
    assert last_of_run(home) == expected


def test_a_stopped_run_ends_as_a_valid_checkpoint(up: Path) -> None:
    use_recipe(up, LONG)
    drop(up, "stopped.jsonl", chat_rows(ROWS))
    stopped = run_of(up, "stopped.jsonl")
    with held_still(up, stopped) as child:
        ask_to_leave(child, up, "run", "stop", stopped)
    wait_until(up, lambda lab: job_state(lab, stopped) == "done")
    with Realm(up) as lab:
        run = next(run for run in lab.runs() if run.id == stopped)
        assert run.outcome == "stopped"
        assert 5 <= run.step < STEPS
        assert lab.checkpoint("dio@latest").step == run.step
        assert lab.checkpoints()[-1].run == run.id
    last_of_run(up)
    assert realm(up, "run", "resume", stopped).returncode == 1  # an ended run is over


def test_a_diverging_run_fails_and_the_last_good_checkpoint_stays(up: Path) -> None:
    wild = FILE_RECIPE.replace("1.0e-3", "1.0e+3, weight_decay: 1.0e+3").replace(
        "{kind: constant, clock: run, warmup_steps: 2}", "{kind: constant, clock: run, warmup_steps: 0}"
    )
    use_recipe(up, wild)
    with Realm(up) as lab:
        good = [checkpoint.hero_step for checkpoint in lab.checkpoints()] or [0]  # a run begins with a birth
    drop(up, "wild.jsonl", chat_rows(400))
    diverged = run_of(up, "wild.jsonl")
    wait_until(up, lambda lab: job_state(lab, diverged) == "failed")
    [failed] = realm_json(up, "status")["failed"]
    assert failed["id"] == diverged
    assert "step" in failed["reason"]
    with Realm(up) as lab:
        assert next(run for run in lab.runs() if run.id == diverged).outcome == "failed"
        assert [checkpoint.hero_step for checkpoint in lab.checkpoints()] == good
        lab.lab.store.verified(ArtifactKind.CHECKPOINT, lab.checkpoint("dio@latest").hash)
    # The lab goes on with the next file, once somebody mended the recipe.
    use_recipe(up, FILE_RECIPE)
    drop(up, "other.jsonl", chat_rows(40))
    following = run_of(up, "other.jsonl")
    wait_until(up, lambda lab: job_state(lab, following) == "done")


def test_rows_that_would_train_nothing_are_told_and_nothing_is_trained(tmp_path: Path) -> None:
    home = make_lab(tmp_path / "home", drills=False, file_recipe=FILE_RECIPE + "  max_tokens: 12\n")
    job = train_here(home, chat_rows(8))  # every row is longer than 12 tokens
    assert (job.id, job.state) == ("run-0001", JobState.FAILED)
    with Realm(home) as lab:
        assert "12" in lab.jobs()[0].reason
        assert [c.hero_step for c in lab.checkpoints()] == [0]


def test_a_corrupted_checkpoint_is_refused_by_chat_and_set_aside_by_training(tmp_path: Path) -> None:
    home = make_lab(tmp_path / "home", drills=False)
    assert train_here(home, chat_rows(40)).state is JobState.DONE
    with Realm(home) as lab:
        folder = lab.lab.store.path(ArtifactKind.CHECKPOINT, lab.checkpoint("dio@latest").hash)
    weights = folder / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-5] ^= 1
    weights.write_bytes(data)
    answer = realm(home, "ask", "hi", "--model", "dio@latest")
    assert answer.returncode == 1
    assert "is damaged: " in answer.stderr
    assert "model.safetensors" in answer.stderr
    job = train_here(home, chat_rows(44), "other.jsonl")
    assert (job.id, job.state) == ("run-0002", JobState.DONE)
    with Realm(home) as lab:
        assert isinstance(lab.ask("hi", "dio@latest"), str)


def test_drills_wait_after_a_stop_and_go_on_after_a_restart(tmp_path: Path) -> None:
    home = make_lab(tmp_path / "home", drills=True, rows=6_400)
    spark = home / "recipes" / "spark.yaml"
    spark.write_text(spark.read_text().replace("every_steps: 4", "every_steps: 500"))
    with lab_up(home):
        wait_until(home, lambda lab: bool(lab.runs()))
        with held_still(home, "run-0001") as child:
            ask_to_leave(child, home, "run", "stop")
        wait_until(home, lambda lab: job_state(lab, "run-0001") == "done")
        wait_until(home, lambda lab: "was stopped" in lab.status().waiting_for)
        with Realm(home) as lab:
            assert len(lab.runs()) == 1
    with lab_up(home):
        wait_until(home, lambda lab: job_state(lab, "run-0002") == "running")
        assert realm(home, "down").returncode == 0
        with Realm(home) as lab:
            assert lab.status().holder is None
            assert job_state(lab, "run-0002") == "queued"  # goes on at the next start
