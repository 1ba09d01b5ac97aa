from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from realm.core.errors import CorruptError, NotFoundError, StateError, StorageError, UsageError
from realm.core.records import Priority
from realm.jobs.queue import Job, JobQueue, JobState, Request


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[JobQueue]:
    queue = JobQueue(tmp_path / ".realm" / "jobs.db")
    yield queue
    queue.close()


def ids(jobs: list[Job]) -> list[str]:
    return [job.id for job in jobs]


def run_one(queue: JobQueue, state: JobState, reason: str = "") -> Job:
    job = queue.claim("worker", 1)
    assert job is not None
    ended = queue.finish(job.id, job.attempt, state, reason)
    assert ended is not None
    return ended


def test_a_job_added_twice_is_one_job(queue: JobQueue) -> None:
    first = queue.add("train-1", "train", {"steps": 5}, title="Train", priority=Priority.HIGH)
    again = queue.add("train-1", "other", {"steps": 6}, priority=Priority.LOW)
    assert again == first == queue.get("train-1")
    assert (first.state, first.attempt, first.payload) == (JobState.QUEUED, 0, {"steps": 5})


def test_what_was_added_is_there_after_reopening(tmp_path: Path) -> None:
    clock = datetime(2026, 11, 20, 19, 3, 1, 250, tzinfo=UTC)
    first = JobQueue(tmp_path / "jobs.db", clock=lambda: clock)
    job = first.add("first-1.b", "train", {"name": "Größe ✓", "nested": {"a": [1, None]}})
    first.close()
    second = JobQueue(tmp_path / "jobs.db")
    assert second.get(job.id) == job
    assert job.created_at == clock
    second.close()


def test_an_id_that_is_no_name_is_refused(queue: JobQueue) -> None:
    for bad in ("", "../up", "a b", ".hidden", "x" * 129):
        with pytest.raises(UsageError):
            queue.add(bad, "train", {})
    assert queue.list() == []


def test_jobs_run_by_priority_then_by_age_even_if_the_clock_jumps(tmp_path: Path) -> None:
    moments = iter(datetime(2026, 1, 1, tzinfo=UTC) - timedelta(days=day) for day in range(400))
    queue = JobQueue(tmp_path / "jobs.db", clock=lambda: next(moments))
    order = ["low", "normal", "high", "normal", "high", "low"]
    for number, priority in enumerate(order):
        queue.add(f"{priority}-{number}", "train", {}, priority=Priority(priority))
    expected = ["high-2", "high-4", "normal-1", "normal-3", "low-0", "low-5"]
    assert ids(queue.list()) == expected
    assert [run_one(queue, JobState.DONE).id for _ in expected] == expected
    assert queue.idle()
    queue.close()


def test_the_list_shows_running_then_queued_then_the_newest(queue: JobQueue) -> None:
    for name in "abcdef":
        queue.add(name, "train", {})
    run_one(queue, JobState.DONE)
    run_one(queue, JobState.FAILED, "no luck")
    assert queue.claim("worker", 1) is not None
    queue.move("f", Priority.HIGH)
    queue.drop("d", "not needed")
    assert ids(queue.list()) == ["c", "f", "e", "d", "b", "a"]
    assert ids(queue.list(limit=2)) == ["c", "f"]
    assert ids(queue.list({JobState.FAILED, JobState.DONE})) == ["b", "a"]
    assert ids(queue.list(set())) == []
    assert ids(queue.owed()) == ["c", "f", "e"]


def test_a_retry_keeps_every_reason(queue: JobQueue) -> None:
    queue.add("a", "train", {})
    assert run_one(queue, JobState.FAILED, "disk full").reason == "disk full"
    queue.retry("a")
    assert run_one(queue, JobState.FAILED, "loss is no number").history == ("disk full",)
    assert queue.drop("a", "hopeless").history == ("disk full", "loss is no number")
    again = queue.retry("a")
    assert again.history == ("disk full", "loss is no number", "hopeless")
    assert (again.state, again.reason, again.attempt) == (JobState.QUEUED, "", 2)
    assert run_one(queue, JobState.DONE).attempt == 3


def test_a_paused_job_is_no_work_until_it_is_resumed(queue: JobQueue) -> None:
    queue.add("a", "train", {})
    assert queue.pause("a").state is JobState.PAUSED
    assert queue.idle()
    assert queue.claim("worker", 1) is None
    assert queue.resume("a").state is JobState.QUEUED
    assert not queue.idle()


def test_a_running_job_is_asked_not_changed(queue: JobQueue) -> None:
    queue.add("a", "train", {})
    queue.claim("worker", 1)
    paused = queue.pause("a")
    assert (paused.state, paused.request) == (JobState.RUNNING, Request.PAUSE)
    assert queue.stop("a").request is Request.STOP
    with pytest.raises(StateError, match="being stopped"):
        queue.pause("a")
    with pytest.raises(StateError, match=r"job a is running and cannot be dropped"):
        queue.drop("a", "now")
    ended = queue.finish("a", 1, JobState.DONE, "stopped at step 5")
    assert ended is not None
    assert ended.request is Request.NONE


def test_what_nobody_works_on_any_more_is_next_whatever_else_waits(queue: JobQueue) -> None:
    queue.add("begun", "train", {}, priority=Priority.LOW)
    queue.claim("worker", 1)
    queue.add("urgent", "train", {}, priority=Priority.HIGH)
    [back] = queue.put_back()
    assert (back, back.state, back.attempt) == (queue.get("begun"), JobState.QUEUED, 1)
    assert queue.finish("begun", 1, JobState.DONE, "") is None  # by whom it was taken from
    assert ids(queue.owed()) == ["begun", "urgent"]
    assert [run_one(queue, JobState.DONE).id for _ in "ab"] == ["begun", "urgent"]
    assert queue.put_back() == []


def test_what_was_asked_of_a_job_that_is_put_back_happens(queue: JobQueue) -> None:
    for name in "ab":
        queue.add(name, "train", {})
        queue.claim(name, 1)
    queue.pause("a")
    queue.stop("b")
    back = {job.id: (job.state, job.request) for job in queue.put_back()}
    assert back == {"a": (JobState.PAUSED, Request.NONE), "b": (JobState.DROPPED, Request.NONE)}
    assert queue.get("b").reason.startswith("stopped")
    assert queue.idle()


def test_an_impossible_change_says_what_is_possible(queue: JobQueue) -> None:
    queue.add("a", "train", {})
    run_one(queue, JobState.DONE)
    with pytest.raises(StateError, match=r"is done and cannot be retried\n.*add a new job"):
        queue.retry("a")
    with pytest.raises(NotFoundError, match=r"no job b\n.*newest are: a"):
        queue.get("b")


def test_a_worker_begins_no_more_than_it_may(queue: JobQueue) -> None:
    for name in "abc":
        queue.add(name, "train", {})
    assert queue.claim("worker", 2) is not None
    assert queue.claim("worker", 2) is not None
    assert queue.claim("worker", 2) is None
    assert ids(queue.running("worker")) == ["a", "b"]
    other = queue.claim("other", 1)
    assert other is not None
    assert other.id == "c"


def test_an_old_attempt_cannot_end_a_new_one(queue: JobQueue) -> None:
    queue.add("a", "train", {})
    run_one(queue, JobState.FAILED, "first")
    queue.retry("a")
    queue.claim("worker", 1)
    assert queue.finish("a", 1, JobState.DONE, "") is None
    assert queue.get("a").state is JobState.RUNNING


def test_a_damaged_database_is_named_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    path.write_bytes(b"this is no database, but long enough to look like a file" * 50)
    with pytest.raises(CorruptError, match=r"jobs\.db"):
        JobQueue(path)
    assert path.read_bytes().startswith(b"this is no")


def test_a_database_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    queue = JobQueue(tmp_path / "jobs.db")
    with queue._db.write() as connection:
        connection.execute("PRAGMA user_version = 99")
    queue.close()
    with pytest.raises(StateError, match="newer version"):
        JobQueue(tmp_path / "jobs.db")


def test_a_commit_survives_a_power_cut(queue: JobQueue) -> None:
    with queue._db.read() as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
        assert connection.execute("PRAGMA synchronous").fetchone()[0] == 2


def test_a_full_disk_is_told_and_harms_nothing(queue: JobQueue) -> None:
    queue.add("a", "train", {})
    with queue._db.read() as connection:
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(StorageError, match="full"):
        queue.add("b", "train", {"text": "x" * 100_000})
    assert ids(queue.list()) == ["a"]
    with queue._db.read() as connection:
        connection.execute("PRAGMA max_page_count = 1000000")
    queue.add("b", "train", {"text": "x" * 100_000})
    assert ids(queue.list()) == ["a", "b"]


ADDER = """
import sys
from pathlib import Path
from realm.jobs.queue import JobQueue
queue = JobQueue(Path(sys.argv[1]))
for number in range(25):
    queue.add(f"{sys.argv[2]}-{number}", "train", {})
    queue.add(f"shared-{number}", "train", {})
assert "dbos" not in sys.modules and "sqlalchemy" not in sys.modules
"""


def test_processes_that_add_at_once_lose_nothing(tmp_path: Path) -> None:
    database = str(tmp_path / "jobs.db")
    adders = [subprocess.Popen([sys.executable, "-c", ADDER, database, name]) for name in "abcd"]
    assert [adder.wait(60) for adder in adders] == [0, 0, 0, 0]
    queue = JobQueue(tmp_path / "jobs.db")
    assert len(queue.list()) == 4 * 25 + 25
    queue.close()


NAMES = st.sampled_from(["a", "b", "c"])
POSSIBLE: dict[str, dict[JobState, JobState]] = {
    "pause": {JobState.QUEUED: JobState.PAUSED, JobState.RUNNING: JobState.RUNNING},
    "resume": {JobState.PAUSED: JobState.QUEUED},
    "retry": {JobState.FAILED: JobState.QUEUED, JobState.DROPPED: JobState.QUEUED},
    "stop": {
        JobState.RUNNING: JobState.RUNNING,
        JobState.QUEUED: JobState.DROPPED,
        JobState.PAUSED: JobState.DROPPED,
    },
    "drop": {
        JobState.QUEUED: JobState.DROPPED,
        JobState.PAUSED: JobState.DROPPED,
        JobState.FAILED: JobState.DROPPED,
    },
}


class QueueMachine(RuleBasedStateMachine):
    """Any order of calls: the table of possible changes holds, and nothing else ever happens."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.queue = JobQueue(Path(self.folder.name) / "jobs.db")
        self.states: dict[str, JobState] = {}
        self.attempts: dict[str, int] = {}
        self.reasons: dict[str, list[str]] = {}

    def teardown(self) -> None:
        self.queue.close()
        self.folder.cleanup()

    @rule(name=NAMES, priority=st.sampled_from(list(Priority)))
    def add(self, name: str, priority: Priority) -> None:
        self.queue.add(name, "train", {}, priority=priority)
        self.states.setdefault(name, JobState.QUEUED)
        self.attempts.setdefault(name, 0)
        self.reasons.setdefault(name, [])

    @rule(name=NAMES, action=st.sampled_from(sorted(POSSIBLE)))
    def change(self, name: str, action: str) -> None:
        arguments = ("given up",) if action == "drop" else ()
        if name not in self.states:
            with pytest.raises(NotFoundError):
                getattr(self.queue, action)(name, *arguments)
            return
        target = POSSIBLE[action].get(self.states[name])
        stopping = self.queue.get(name).request is Request.STOP and action == "pause"
        if target is None or stopping:
            with pytest.raises(StateError):
                getattr(self.queue, action)(name, *arguments)
            return
        job = getattr(self.queue, action)(name, *arguments)
        assert job.state is target
        if target is JobState.DROPPED:
            self.reasons[name].append(job.reason)
        self.states[name] = target

    @rule()
    def claim(self) -> None:
        job = self.queue.claim("worker", 2)
        waiting = [name for name, state in self.states.items() if state is JobState.QUEUED]
        busy = list(self.states.values()).count(JobState.RUNNING) >= 2
        assert (job is None) == (busy or not waiting)
        if job is not None:
            assert job.request is Request.NONE
            self.states[job.id] = JobState.RUNNING
            self.attempts[job.id] += 1

    @precondition(lambda self: JobState.RUNNING in self.states.values())
    @rule(data=st.data(), state=st.sampled_from([JobState.DONE, JobState.FAILED, JobState.PAUSED]))
    def finish(self, data: st.DataObject, state: JobState) -> None:
        running = sorted(name for name, now in self.states.items() if now is JobState.RUNNING)
        name = data.draw(st.sampled_from(running))
        reason = "" if state is JobState.DONE else f"reason {self.attempts[name]}"
        assert self.queue.finish(name, self.attempts[name] - 1, state, "stale") is None
        assert self.queue.finish(name, self.attempts[name], state, reason) is not None
        assert self.queue.finish(name, self.attempts[name], state, reason) is None
        self.states[name] = state
        if reason:
            self.reasons[name].append(reason)

    @rule()
    def put_back(self) -> None:
        running = {name for name, state in self.states.items() if state is JobState.RUNNING}
        after = {
            Request.NONE: JobState.QUEUED,
            Request.PAUSE: JobState.PAUSED,
            Request.STOP: JobState.DROPPED,
        }
        expected = {name: after[self.queue.get(name).request] for name in running}
        back = self.queue.put_back()
        assert {job.id: job.state for job in back} == expected
        self.states |= expected
        for job in back:
            if job.state is JobState.DROPPED:
                self.reasons[job.id].append(job.reason)

    @rule(name=NAMES, priority=st.sampled_from(list(Priority)))
    def move(self, name: str, priority: Priority) -> None:
        if self.states.get(name) in {JobState.QUEUED, JobState.PAUSED}:
            assert self.queue.move(name, priority).priority is priority
        else:
            with pytest.raises((StateError, NotFoundError)):
                self.queue.move(name, priority)

    @invariant()
    def table_agrees(self) -> None:
        for job in self.queue.list():
            assert job.state is self.states[job.id]
            assert job.attempt == self.attempts[job.id]
            told = [*job.history, job.reason] if job.reason else list(job.history)
            assert told == self.reasons[job.id]
            ended = {JobState.DONE, JobState.FAILED, JobState.DROPPED}
            assert (job.ended_at is not None) == (job.state in ended)
        queued = [job for job in self.queue.list() if job.state is JobState.QUEUED]
        order = [(job.started_at is None, list(Priority).index(job.priority)) for job in queued]
        assert order == sorted(order)


TestQueueMachine = QueueMachine.TestCase
TestQueueMachine.settings = settings(max_examples=25, stateful_step_count=25, deadline=None)
