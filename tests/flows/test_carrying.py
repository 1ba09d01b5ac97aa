"""A job in a lab that is up elsewhere: followed until nobody works on it any more, or left alone with it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from realm import Realm
from realm.cli.main import run
from realm.core.errors import NotFoundError, StateError
from realm.core.events import Event, RunPredicted, StepTaken
from realm.core.hashing import hash_bytes
from realm.core.records import Priority
from realm.flows import control
from realm.flows.carrying import before, carried_out, carry_out, left
from realm.flows.context import Lab
from realm.flows.examination import EVALUATE
from realm.flows.runs import TRAIN
from realm.flows.suites import finish
from realm.flows.train import plan_training
from realm.jobs.queue import Job, JobState, Request
from realm.jobs.tail import EventLog
from realm.ledger.records import NewCheckpoint
from realm.storage.lock import HomeLock
from tiny_lab import REALM, chat_rows, make_lab, wait_until


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


def test_a_lab_that_ends_in_order_is_not_followed_by_this_process(lab: Lab, held: HomeLock) -> None:
    queued = lab.queue.add("job-1", TRAIN, {})
    claimed(lab)
    tell(lab, 1)

    def end() -> None:
        control.put_back(lab)
        held.release()

    worker(lab, 2, end)
    assert carried_out(lab, queued).state is JobState.QUEUED


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
    with pytest.raises(KeyboardInterrupt) as left:
        carried_out(lab, queued)
    assert lab.queue.get("job-1").state is JobState.RUNNING
    assert left.value.__notes__ == ["job-1 goes on in the lab: `realm run watch job-1`"]


def test_ctrl_c_keeps_the_last_checkpoint_says_so_and_leaves_nothing_running(lab: Lab) -> None:
    (lab.home.root / "mine.jsonl").write_text(chat_rows(8000))
    command = [*REALM, "--home", str(lab.home.root), "train", str(lab.home.root / "mine.jsonl")]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as training:
        wait_until(lab.home.root, lambda realm: any(saved.run for saved in realm.checkpoints()))
        training.send_signal(signal.SIGINT)
        assert training.stderr is not None
        told = training.stderr.read()
    saved = lab.ledger.checkpoints.latest_of_run("run-0001")
    assert saved is not None
    assert told == f"run-0001 is kept at step {saved.step}: `realm up` goes on with it\n"
    assert training.returncode == 130
    assert lab.queue.get("run-0001").state is JobState.QUEUED
    control.stop(lab, "run-0001")
    run = lab.ledger.runs.get("run-0001")
    assert (run.outcome, run.step) == ("stopped", saved.step)


def test_what_becomes_of_a_job_that_is_left(lab: Lab, tmp_path: Path) -> None:
    (tmp_path / "mine.jsonl").write_text(chat_rows(3))
    run_id = plan_training(lab, str(tmp_path / "mine.jsonl")).id
    lab.queue.add("eval-1", EVALUATE, {}, priority=Priority.LOW)
    assert left(lab, run_id) == f"{run_id} waits in the queue: `realm up` carries it out in its turn"
    for _ in "ab":
        assert lab.queue.claim("worker", 2) is not None
    with HomeLock(lab.home.root):
        assert left(lab, run_id) == f"{run_id} goes on in the lab: `realm run watch {run_id}`"
        assert left(lab, "eval-1") == "eval-1 goes on in the lab: `realm queue list`"
    control.put_back(lab)
    assert left(lab, run_id) == f"{run_id} has no checkpoint yet: `realm up` begins it anew"
    assert left(lab, "eval-1") == "eval-1 is queued again: `realm up` goes on with it"
    control.drop(lab, run_id, "not needed")
    assert left(lab, run_id) == f"{run_id}: dropped not needed"


def test_a_run_that_fails_is_told_once(
    lab: Lab, one_launcher: None, capfd: pytest.CaptureFixture[str]
) -> None:
    rows = lab.home.root / "mine.jsonl"
    rows.write_text(chat_rows(3))
    (lab.home.root / "recipes" / "short.yaml").write_text("extends: study\nrules: {max_tokens: 12}\n")
    assert run(["--home", str(lab.home.root), "train", str(rows), "--recipe", "short"]) == 1
    reason = lab.queue.get("run-0001").reason
    told = capfd.readouterr()
    assert told.err == ""
    assert told.out.count(reason.splitlines()[0]) == 1
    assert told.out.endswith(f"run-0001: failed {reason}\n")


# --- a job that is called running, though its process was killed ------------------------------


@pytest.fixture
def orphan(lab: Lab, tmp_path: Path) -> str:
    (tmp_path / "mine.jsonl").write_text(chat_rows(3))
    run_id = plan_training(lab, str(tmp_path / "mine.jsonl")).id
    assert lab.queue.claim("worker", 1) is not None
    return run_id


@pytest.mark.parametrize(
    ("words", "state"),
    [
        (("queue", "retry", "run-0001"), JobState.QUEUED),
        (("run", "resume", "run-0001"), JobState.QUEUED),
        (("queue", "move", "run-0001", "low"), JobState.QUEUED),
        (("run", "pause"), JobState.PAUSED),
        (("run", "pause", "run-0001"), JobState.PAUSED),
        (("run", "stop"), JobState.DROPPED),
        (("queue", "drop", "run-0001"), JobState.DROPPED),
    ],
)
def test_a_run_whose_process_was_killed_is_steered_at_once(
    lab: Lab, orphan: str, words: tuple[str, ...], state: JobState
) -> None:
    assert run(["--home", str(lab.home.root), *words]) == 0
    assert lab.queue.get(orphan).state is state
    assert lab.ledger.runs.get(orphan).outcome == ("dropped" if state is JobState.DROPPED else None)


def test_a_run_whose_process_was_killed_cannot_save_and_the_way_on_is_said(lab: Lab, orphan: str) -> None:
    with pytest.raises(StateError, match="is queued, not running") as refused:
        control.save(lab, orphan)
    hint = f"{orphan} is queued: `realm up` goes on with it"
    assert refused.value.hint == hint
    assert not lab.home.save_now(orphan).exists()
    with pytest.raises(NotFoundError, match="no run is paused") as unknown:
        control.resume(lab)
    assert unknown.value.hint == hint
    with pytest.raises(StateError, match="`realm up` goes on with it"):
        control.retry(lab, orphan)


def test_a_run_whose_process_was_killed_goes_on_in_another_number_of_ranks(lab: Lab, orphan: str) -> None:
    with pytest.raises(StateError, match="trains in one process"):
        control.resume(lab, orphan, processes=2)
    assert lab.queue.get(orphan).state is JobState.QUEUED
    launcher = "device: cpu, launcher: {kind: torchrun, processes: 2}"
    (lab.home.root / "recipes" / "ranks.yaml").write_text(f"extends: study\nrules: {{{launcher}}}\n")
    ranks = plan_training(lab, "mine.jsonl", recipe="ranks").id
    assert lab.queue.claim("worker", 1) is not None
    assert lab.queue.claim("other", 1) is not None
    assert control.retry(lab, ranks, processes=3).state is JobState.QUEUED
    assert lab.ledger.runs.get(ranks).spec["recipe"]["rules"]["launcher"]["processes"] == 3


def test_a_run_that_somebody_works_on_is_asked_and_not_taken(lab: Lab, orphan: str, held: HomeLock) -> None:
    assert control.pause(lab).state is JobState.RUNNING
    for refused in (control.retry, control.resume):
        with pytest.raises(StateError, match="is running and cannot be"):
            refused(lab, orphan)
    assert control.stop(lab).request is Request.STOP
    held.release()
    with pytest.raises(StateError, match="is dropped"):  # as was asked before its process was killed
        control.pause(lab)
    assert lab.ledger.runs.get(orphan).outcome == "dropped"


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
