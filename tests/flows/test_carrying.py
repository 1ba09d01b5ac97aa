"""A job in a lab that is up elsewhere: followed until nobody works on it any more, or left alone with it."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from realm import Realm
from realm.cli.main import run
from realm.core.errors import StateError
from realm.core.events import Event, RunPredicted, StepTaken
from realm.core.hashing import hash_bytes
from realm.core.records import Priority
from realm.flows import control
from realm.flows.carrying import before, carried_out, carry_out
from realm.flows.context import Lab
from realm.flows.runs import TRAIN
from realm.flows.suites import finish
from realm.flows.train import plan_training
from realm.jobs.queue import Job, JobState, Request
from realm.jobs.tail import EventLog
from realm.ledger.records import NewCheckpoint
from realm.storage.lock import HomeLock
from tiny_lab import REALM, chat_rows, make_lab


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    with Realm(make_lab(tmp_path / "home", drills=False)) as realm:
        yield realm.lab


@pytest.fixture
def held(lab: Lab) -> Iterator[HomeLock]:
    """Hold the home, as the lab that is up does."""
    with HomeLock(lab.home.root) as lock:
        yield lock


def tell(lab: Lab, number: int, run: str = "job-1") -> None:
    """Append a step to a job's events, as the worker's child does."""
    log = EventLog(lab.home.events(run))
    figures = {"loss": 1.0, "gradient_norm": 1.0, "learning_rate": 0.1, "seconds": 0.1}
    counts = {"steps_total": 3, "hero_step": number, "tokens": 8, "trained_tokens": 8}
    log.emit(StepTaken(run=run, step=number, **figures, **counts))  # type: ignore[arg-type]
    log.close()


def claimed(lab: Lab) -> Job:
    lab.queue.add("job-1", TRAIN, {})
    job = lab.queue.claim("worker", 1)
    assert job is not None
    return job


def worker(lab: Lab, last: int, end: Callable[[], object]) -> list[int]:
    """Tell one step after the other as each is seen, then end; return what is seen."""
    seen: list[int] = []

    def watch(event: Event) -> None:
        assert isinstance(event, StepTaken)
        seen.append(event.step)
        if event.step < last:
            tell(lab, event.step + 1)
        else:
            end()

    lab.watchers.append(watch)
    return seen


@pytest.mark.parametrize("state", [JobState.DONE, JobState.FAILED, JobState.PAUSED])
def test_a_job_is_followed_from_its_first_event_until_nobody_works_on_it(
    lab: Lab, held: HomeLock, state: JobState
) -> None:
    queued = lab.queue.add("job-1", TRAIN, {})
    job = claimed(lab)
    tell(lab, 1)
    seen = worker(lab, 3, lambda: lab.queue.finish(job.id, job.attempt, state, "so it is"))
    ended = carried_out(lab, queued)
    assert (seen, ended.state, ended.reason) == ([1, 2, 3], state, "so it is")


def test_what_an_earlier_attempt_told_is_not_told_again(lab: Lab, held: HomeLock) -> None:
    job = claimed(lab)
    tell(lab, 1)
    lab.queue.finish(job.id, job.attempt, JobState.FAILED, "no luck")
    seen = worker(lab, 3, lambda: None)
    assert carried_out(lab, lab.queue.get(job.id)).state is JobState.FAILED
    assert seen == []


def test_a_lab_that_goes_down_leaves_the_job_as_it_is(lab: Lab, held: HomeLock) -> None:
    queued = lab.queue.add("job-1", TRAIN, {})
    claimed(lab)
    tell(lab, 1)
    seen = worker(lab, 2, held.release)
    with pytest.raises(StateError, match="job-1 running: no reason was given"):
        finish(lab, queued)
    assert seen == [1, 2]


def test_without_following_the_lab_is_left_alone_with_it(lab: Lab, held: HomeLock) -> None:
    queued = lab.queue.add("job-1", TRAIN, {})
    tell(lab, 1)
    seen = worker(lab, 1, held.release)
    assert carried_out(lab, queued, follow=False) == queued
    assert seen == []


def test_ctrl_c_leaves_a_followed_job_to_the_lab(lab: Lab, held: HomeLock) -> None:
    queued = lab.queue.add("job-1", TRAIN, {})
    claimed(lab)
    tell(lab, 1)

    def leave() -> None:
        raise KeyboardInterrupt

    worker(lab, 1, leave)
    with pytest.raises(KeyboardInterrupt):
        carried_out(lab, queued)
    assert lab.queue.get("job-1").state is JobState.RUNNING


def test_commands_leave_work_to_the_lab_that_is_up(
    lab: Lab, held: HomeLock, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    new = NewCheckpoint(
        campaign="first", hero="dio", hash=hash_bytes(b"1"), size_bytes=1, step=1, hero_step=1
    )
    lab.ledger.checkpoints.add(new, None)
    rows = tmp_path / "mine.jsonl"
    rows.write_text(chat_rows(3))

    def told(*words: str) -> str:
        assert run(["--home", str(lab.home.root), *words]) == 0
        return capsys.readouterr().out

    def document(*words: str) -> Any:
        return json.loads(told("--json", *words))

    trained = document("train", str(rows), "--no-wait")
    assert (trained["id"], trained["state"]) == ("run-0001", "queued")
    sparred = document("skill", "spar", "bin")
    assert (sparred["job"]["state"], sparred["runs"], sparred["sparred"]) == ("queued", [], [])
    mined = document("data", "mine", "mine.jsonl")
    assert (mined["job"]["state"], mined["dataset"]) == ("queued", None)
    for words in (("skill", "spar", "bin", "--train"), ("data", "mine", "mine.jsonl")):
        said = told(*words)
        assert f"process {os.getpid()} on " in said
        assert "`realm up` does it in its turn; after any other command, ask for it again" in said
    assert {job.state.value for job in lab.queue.list()} == {"queued"}


def test_a_run_whose_lab_went_down_is_not_called_done(lab: Lab, held: HomeLock, tmp_path: Path) -> None:
    rows = tmp_path / "mine.jsonl"
    rows.write_text(chat_rows(3))
    command = [*REALM, "--home", str(lab.home.root), "train", str(rows)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as followed:
        assert followed.stdout is not None
        assert followed.stderr is not None
        assert followed.stdout.readline() == "run-0001: mine.jsonl\n"
        assert lab.queue.claim("worker", 1) is not None
        tell(lab, 1, run="run-0001")
        assert followed.stdout.readline().startswith("run-0001 step 1/3")
        held.release()
        assert "run-0001: the lab went down before it ended" in followed.stderr.read()
    assert followed.returncode == 4


def test_a_run_that_the_lab_left_before_it_began_is_carried_out_here(
    lab: Lab, held: HomeLock, tmp_path: Path, one_launcher: None
) -> None:
    """As when two train at once, and the first has done its own."""
    rows = tmp_path / "mine.jsonl"
    rows.write_text(chat_rows(3))
    queued = plan_training(lab, str(rows))
    tell(lab, 7, run=queued.id)
    seen: list[Event] = []

    def watch(event: Event) -> None:
        seen.append(event)
        held.release()  # at the first event, which is followed; does nothing at those of the run itself

    lab.watchers.append(watch)
    assert carried_out(lab, queued).state is JobState.DONE
    assert [event.step for event in seen if isinstance(event, StepTaken)] == [7, 1]


@pytest.mark.parametrize(("ask", "state"), [(control.pause, JobState.PAUSED), (control.stop, JobState.DONE)])
def test_what_is_asked_of_a_run_before_its_process_listens_is_heeded(
    lab: Lab, tmp_path: Path, one_launcher: None, ask: Callable[[Lab, str], Job], state: JobState
) -> None:
    """As after a lab was ended with Ctrl-C, and its run was paused or stopped before the next start."""
    rows = tmp_path / "mine.jsonl"
    rows.write_text(chat_rows(40))
    queued = plan_training(lab, str(rows))

    def watch(event: Event) -> None:
        if isinstance(event, RunPredicted) and lab.queue.get(queued.id).request is Request.NONE:
            ask(lab, queued.id)

    lab.watchers.append(watch)
    assert carry_out(lab, queued.id).state is state
    run = lab.ledger.runs.get(queued.id)
    assert run.outcome == (None if state is JobState.PAUSED else "stopped")
    lab.watchers.clear()
    if state is JobState.PAUSED:
        control.resume(lab, queued.id)
        assert carry_out(lab, queued.id).state is JobState.DONE
        assert lab.ledger.runs.get(queued.id).outcome == "done"


def test_a_command_names_the_jobs_that_come_first(
    lab: Lab, held: HomeLock, capsys: pytest.CaptureFixture[str]
) -> None:
    new = NewCheckpoint(
        campaign="first", hero="dio", hash=hash_bytes(b"1"), size_bytes=1, step=1, hero_step=1
    )
    lab.ledger.checkpoints.add(new, None)
    later = lab.queue.add("job-2", TRAIN, {}, title="later", priority=Priority.LOW)
    queued = lab.queue.add("job-1", TRAIN, {}, title="first", priority=Priority.HIGH)
    assert [job.id for job in before(lab, later)] == [queued.id]
    assert before(lab, queued) == []
    lab.queue.drop(later.id, "not needed")
    assert before(lab, later) == []
    assert run(["--home", str(lab.home.root), "skill", "spar", "bin"]) == 0
    assert "first comes job-1: first\n" in capsys.readouterr().err


def test_a_sparring_that_failed_exits_with_1(
    lab: Lab, held: HomeLock, capsys: pytest.CaptureFixture[str]
) -> None:
    new = NewCheckpoint(
        campaign="first", hero="dio", hash=hash_bytes(b"1"), size_bytes=1, step=1, hero_step=1
    )
    lab.ledger.checkpoints.add(new, None)
    command = ["--home", str(lab.home.root), "skill", "spar", "bin"]
    assert run(command) == 0
    job = lab.queue.claim("worker", 1)
    assert job is not None
    lab.queue.finish(job.id, job.attempt, JobState.FAILED, "out of luck")
    assert run(command) == 1
    assert f"{job.id}: failed out of luck" in capsys.readouterr().out
