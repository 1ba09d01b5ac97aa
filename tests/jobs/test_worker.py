from __future__ import annotations

import asyncio
import logging
import os
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from realm.core.errors import GateError, HeldError, StateError, UnsafeFileError
from realm.core.records import Priority
from realm.jobs import worker as workers
from realm.jobs.queue import Job, JobQueue, JobState, Request
from realm.jobs.worker import Outcome, Step, StepContext, Worker

DONE = Outcome(state="done")


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[JobQueue]:
    queue = JobQueue(tmp_path / "jobs.db")
    yield queue
    queue.close()


async def succeed(context: StepContext) -> Outcome:
    return DONE


async def obey(context: StepContext) -> Outcome:
    """Do what a well-behaved step does: work on until somebody asks for something."""
    while True:
        match context.request():
            case Request.PAUSE:
                return Outcome(state="paused", reason="paused at step 5")
            case Request.STOP:
                return Outcome(state="stopped", reason="asked by its owner")
        await asyncio.sleep(0.02)


def work(queue: JobQueue, **steps: Step) -> None:
    Worker(queue, steps).run(queue.idle)


def run_for(seconds: float, queue: JobQueue, **steps: Step) -> None:
    end = time.monotonic() + seconds
    Worker(queue, steps).run(lambda: time.monotonic() > end)


def while_running(queue: JobQueue, job_id: str, act: Callable[[], object]) -> threading.Thread:
    def wait_and_act() -> None:
        while queue.get(job_id).state is not JobState.RUNNING:
            time.sleep(0.01)
        time.sleep(0.2)
        act()

    thread = threading.Thread(target=wait_and_act)
    thread.start()
    return thread


def test_jobs_run_in_order_and_every_change_is_told(queue: JobQueue) -> None:
    order: list[tuple[str, str]] = []
    threads = set()

    async def note(context: StepContext) -> Outcome:
        order.append((context.job.id, context.job.payload["word"]))
        return DONE

    told: list[tuple[str, JobState]] = []

    def tell(job: Job) -> None:
        told.append((job.id, job.state))
        threads.add(threading.current_thread())

    queue.add("low", "note", {"word": "c"}, priority=Priority.LOW)
    queue.add("first", "note", {"word": "a"})
    queue.add("second", "note", {"word": "b"})
    Worker(queue, {"note": note}, on_change=tell).run(queue.idle)
    assert order == [("first", "a"), ("second", "b"), ("low", "c")]
    running, done = JobState.RUNNING, JobState.DONE
    assert sorted(told) == sorted((name, state) for name, _ in order for state in (running, done))
    assert threads == {threading.current_thread()}
    job = queue.get("first")
    assert job.started_at is not None
    assert job.ended_at is not None
    assert job.created_at <= job.started_at <= job.ended_at
    assert (job.attempt, job.reason) == (1, "")


def test_a_failure_says_why(queue: JobQueue, caplog: pytest.LogCaptureFixture) -> None:
    async def refuse(context: StepContext) -> Outcome:
        raise GateError("dio-v2 is not better", hint="train longer")

    async def break_down(context: StepContext) -> Outcome:
        raise KeyError("skill")

    async def leave(context: StepContext) -> Outcome:
        sys.exit(3)

    async def cancel_itself(context: StepContext) -> Outcome:
        raise asyncio.CancelledError

    steps = {"refuse": refuse, "break": break_down, "leave": leave, "cancel": cancel_itself}
    for kind in (*steps, "unknown", "succeed"):
        queue.add(kind, kind, {})
    work(queue, succeed=succeed, **steps)
    assert queue.get("refuse").reason == "dio-v2 is not better\n  → train longer"
    assert queue.get("break").reason == "KeyError: 'skill'"
    assert queue.get("leave").reason == "SystemExit: 3"
    assert queue.get("cancel").reason.startswith("CancelledError")
    assert "'unknown'" in queue.get("unknown").reason
    assert "refuse" in queue.get("unknown").reason
    assert {job.state for job in queue.list() if job.id != "succeed"} == {JobState.FAILED}
    assert queue.get("succeed").state is JobState.DONE
    assert "break_down" in caplog.text


def test_the_refusal_of_an_awaited_job_is_left_to_its_caller(
    queue: JobQueue, caplog: pytest.LogCaptureFixture
) -> None:
    async def refuse(context: StepContext) -> Outcome:
        raise GateError(f"{context.job.id} is refused")

    for name in ("awaited", "other"):
        queue.add(name, "refuse", {})
    Worker(queue, {"refuse": refuse}, awaited="awaited").run(queue.idle)
    assert queue.get("awaited").reason == "awaited is refused"
    assert [record.getMessage() for record in caplog.records] == ["job other failed: other is refused"]


def test_a_job_that_was_put_back_is_a_new_attempt(queue: JobQueue) -> None:
    attempts = []

    async def hold(context: StepContext) -> Outcome:
        attempts.append(context.attempt)
        await asyncio.sleep(60)
        return DONE

    async def end(context: StepContext) -> Outcome:
        attempts.append(context.attempt)
        return DONE

    queue.add("a", "step", {})
    Worker(queue, {"step": hold}).run(lambda: bool(attempts))
    queue.put_back()
    work(queue, step=end)
    assert (attempts, queue.get("a").state) == ([1, 2], JobState.DONE)


def test_a_retry_is_a_new_attempt(queue: JobQueue) -> None:
    attempts = []

    async def second_time(context: StepContext) -> Outcome:
        attempts.append(context.attempt)
        if context.attempt == 1:
            raise GateError("not yet")
        return DONE

    queue.add("a", "try", {})
    work(queue, **{"try": second_time})
    queue.retry("a")
    work(queue, **{"try": second_time})
    job = queue.get("a")
    assert (attempts, job.state, job.history) == ([1, 2], JobState.DONE, ("not yet",))


def test_pause_and_resume(queue: JobQueue) -> None:
    queue.add("a", "obey", {})
    asker = while_running(queue, "a", lambda: queue.pause("a"))
    work(queue, obey=obey)
    asker.join()
    job = queue.get("a")
    assert (job.state, job.reason, job.request) == (JobState.PAUSED, "paused at step 5", Request.NONE)
    queue.resume("a")
    work(queue, obey=succeed)
    assert queue.get("a").state is JobState.DONE
    assert queue.get("a").history == ("paused at step 5",)


def test_stop_ends_a_running_job_as_done(queue: JobQueue) -> None:
    queue.add("a", "obey", {})
    asker = while_running(queue, "a", lambda: queue.stop("a"))
    work(queue, obey=obey)
    asker.join()
    assert (queue.get("a").state, queue.get("a").reason) == (JobState.DONE, "stopped: asked by its owner")


def test_several_jobs_run_side_by_side_up_to_the_limit(queue: JobQueue) -> None:
    now = 0
    most = 0

    async def count(context: StepContext) -> Outcome:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0.3)
        now -= 1
        return DONE

    for number in range(6):
        queue.add(f"job-{number}", "count", {})
    Worker(queue, {"count": count}, concurrency=3).run(queue.idle)
    assert most == 3
    assert {job.state for job in queue.list()} == {JobState.DONE}


def test_leaving_interrupts_a_step_once_and_the_next_start_runs_the_attempt_again(queue: JobQueue) -> None:
    cleaned = []
    leave = threading.Event()

    async def hold(context: StepContext) -> Outcome:
        leave.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            await asyncio.sleep(0.1)
            cleaned.append(context.attempt)
            raise
        return DONE

    queue.add("a", "hold", {})
    worker = Worker(queue, {"hold": hold})
    started = 0.0

    def leaving() -> bool:
        nonlocal started
        started = time.monotonic()
        return leave.is_set()

    worker.run(leaving)
    assert time.monotonic() - started < 2.0
    assert cleaned == [1]
    assert queue.get("a").state is JobState.RUNNING
    work(queue, hold=succeed)
    job = queue.get("a")
    assert (job.state, job.attempt, job.history) == (JobState.DONE, 1, ())


def test_a_claimed_job_that_was_never_handed_over_runs(queue: JobQueue) -> None:
    queue.add("a", "succeed", {})
    queue.claim("worker", 1)
    work(queue, succeed=succeed)
    assert (queue.get("a").state, queue.get("a").attempt) == (JobState.DONE, 1)


def test_an_attempt_that_ended_without_a_result_is_taken_over(queue: JobQueue) -> None:
    queue.add("a", "succeed", {})
    run_for(1.0, queue, succeed=succeed)
    with sqlite3.connect(queue.database) as connection:
        assert connection.execute("SELECT status FROM workflow_status").fetchall() == [("SUCCESS",)]
        connection.execute("UPDATE realm_jobs SET state = 'running', ended_at = NULL")
    connection.close()
    work(queue, succeed=succeed)
    assert (queue.get("a").state, queue.get("a").reason) == (
        JobState.FAILED,
        "its attempt ended without a result",
    )


def test_ended_attempts_leave_dbos(queue: JobQueue) -> None:
    for number in range(5):
        queue.add(f"job-{number}", "succeed", {})
    run_for(1.5, queue, succeed=succeed)
    run_for(0.2, queue)
    connection = sqlite3.connect(queue.database)
    assert connection.execute("SELECT count(*) FROM workflow_status").fetchone() == (0,)
    assert connection.execute("SELECT count(*) FROM operation_outputs").fetchone() == (0,)
    connection.close()


def test_a_result_waits_for_a_disk_that_is_full(
    queue: JobQueue, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "RETRY_S", 0.05)

    def limit(pages: int) -> None:
        with queue._db.read() as connection:
            connection.execute(f"PRAGMA max_page_count = {pages}")

    async def fill(context: StepContext) -> Outcome:
        limit(1)
        threading.Timer(0.5, limit, [1_000_000]).start()
        return Outcome(state="done", reason="a long story " * 10_000)

    queue.add("a", "fill", {})
    work(queue, fill=fill)
    assert queue.get("a").state is JobState.DONE
    assert queue.get("a").reason.startswith("a long story")
    # It was tried again several times, and told once.
    refused = [
        said for said in caplog.messages if said.startswith("job a ended (done) but cannot be recorded")
    ]
    assert len(refused) == 1


def test_a_trouble_that_lasts_is_told_at_once_and_then_once_a_minute(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr(workers.time, "monotonic", lambda: now)
    reminder = workers.Reminder()
    for _ in range(130):
        reminder.warn("full since %s", "noon")
        now += 1.0
    assert caplog.messages == ["full since noon"] * 3


def test_a_second_worker_of_the_same_name_is_refused(queue: JobQueue, tmp_path: Path) -> None:
    queue.add("a", "obey", {})
    other = JobQueue(queue.database)
    refused: list[BaseException] = []

    def try_second() -> None:
        for worker in (Worker(other, {}), Worker(other, {}, name="second")):
            try:
                worker.run(lambda: True)
            except (HeldError, StateError) as error:
                refused.append(error)
        queue.stop("a")

    asker = while_running(queue, "a", try_second)
    work(queue, obey=obey)
    asker.join()
    other.close()
    assert [type(error) for error in refused] == [HeldError, StateError]


def test_a_database_with_pickled_values_is_refused(queue: JobQueue) -> None:
    work(queue)
    with sqlite3.connect(queue.database) as connection:
        columns = "(workflow_uuid, status, serialization)"
        connection.execute(f"INSERT INTO workflow_status {columns} VALUES ('x', 'ENQUEUED', 'py_pickle')")
    connection.close()
    with pytest.raises(UnsafeFileError, match="pickled"):
        work(queue)


def test_dbos_writes_nothing_to_the_console(queue: JobQueue, capfd: pytest.CaptureFixture[str]) -> None:
    queue.add("a", "succeed", {})
    work(queue, succeed=succeed)
    assert logging.getLogger("dbos").level >= logging.WARNING
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("folder", ["my lab", "größe", "50%41", "what?now=1", "a#b"])
def test_a_home_may_have_any_name(folder: str, tmp_path: Path) -> None:
    queue = JobQueue(tmp_path / folder / "jobs.db")
    queue.add("a", "succeed", {})
    work(queue, succeed=succeed)
    assert queue.get("a").state is JobState.DONE
    assert [path.name for path in tmp_path.iterdir()] == [folder]
    queue.close()


def test_values_are_stored_as_json(queue: JobQueue) -> None:
    seen = []

    async def look(context: StepContext) -> Outcome:
        connection = sqlite3.connect(queue.database)
        seen.extend(connection.execute("SELECT serialization, priority, executor_id FROM workflow_status"))
        connection.close()
        return DONE

    queue.add("a", "look", {}, priority=Priority.HIGH)
    work(queue, look=look)
    ((serialization, priority, executor),) = seen
    assert (serialization, priority) == ("portable_json", 1)
    assert executor.endswith(":worker")


KILLED = """
import asyncio, os, signal, sys
from pathlib import Path
from realm.jobs.queue import JobQueue
from realm.jobs.worker import Outcome, Worker

async def die(context):
    with open(sys.argv[2], "a") as file:
        file.write(f"begun {context.job.id}.{context.attempt}\\n")
    if sys.argv[3] == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    with open(sys.argv[2], "a") as file:
        file.write(f"done {context.job.id}.{context.attempt}\\n")
    return Outcome(state="done")

queue = JobQueue(Path(sys.argv[1]))
Worker(queue, {"die": die}).run(queue.idle)
"""


def test_a_killed_worker_loses_no_job_and_repeats_no_effect(queue: JobQueue, tmp_path: Path) -> None:
    effects = tmp_path / "effects"
    for name in "abc":
        queue.add(name, "die", {})

    def run(fate: str) -> int:
        arguments = [sys.executable, "-c", KILLED, str(queue.database), str(effects), fate]
        return subprocess.run(arguments, check=False, env=dict(os.environ), timeout=60).returncode

    assert [run("die"), run("die"), run("live"), run("live")] == [-9, -9, 0, 0]
    done = [line for line in effects.read_text().splitlines() if line.startswith("done")]
    assert done == ["done a.1", "done b.1", "done c.1"]
    assert effects.read_text().count("begun a.1") == 3
    assert {(job.state, job.attempt) for job in queue.list()} == {(JobState.DONE, 1)}
