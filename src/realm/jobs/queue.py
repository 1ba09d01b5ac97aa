"""The queue of jobs: what people see and change, and the only truth about a job's state.

Other processes may open the same database and call the same methods. A worker claims the next
job, runs it and finishes it; everybody else asks. No method waits for a worker.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from pydantic import AwareDatetime, TypeAdapter, ValidationError

from realm.core.clock import Clock, utc_now
from realm.core.errors import NotFoundError, StateError, UsageError
from realm.core.hashing import canonical_json
from realm.core.records import Name, Priority, Record
from realm.jobs.database import JobsDatabase

RANKS = {Priority.HIGH: 1, Priority.NORMAL: 2, Priority.LOW: 3}
"""Lower runs first; never 0, which DBOS reads as no priority at all and runs before 1."""

_PRIORITIES = {rank: priority for priority, rank in RANKS.items()}
_NAME: TypeAdapter[str] = TypeAdapter(Name)


class JobState(StrEnum):
    """Where a job is in its life."""

    QUEUED = "queued"
    RUNNING = "running"
    PAUSED = "paused"
    DONE = "done"
    FAILED = "failed"
    DROPPED = "dropped"


class Request(StrEnum):
    """What people asked of a running job; its step reads it and acts."""

    NONE = "none"
    PAUSE = "pause"
    STOP = "stop"


class Job(Record):
    """One piece of work, with the record of how it went."""

    id: Name
    kind: str
    title: str
    payload: dict[str, Any]
    priority: Priority
    state: JobState
    request: Request
    attempt: int
    """Attempts begun so far; a crash repeats an attempt, whoever is queued again begins a new one."""
    reason: str
    """Why it failed, was paused, stopped or dropped; empty otherwise."""
    created_at: AwareDatetime
    started_at: AwareDatetime | None
    """When the present or last attempt began; of a queued job only where it was put back."""
    ended_at: AwareDatetime | None
    history: tuple[str, ...]
    """Reasons of earlier attempts, oldest first."""


Jobs = list[Job]

_POSSIBLE = {
    JobState.QUEUED: "pause, stop, move or drop it; `realm up` goes on with it",
    JobState.RUNNING: "pause or stop it",
    JobState.PAUSED: "resume, stop, move or drop it",
    JobState.DONE: "it is finished; add a new job",
    JobState.FAILED: "retry or drop it",
    JobState.DROPPED: "retry it",
}
_WAITING = frozenset({JobState.QUEUED, JobState.PAUSED})
_OWED = frozenset({JobState.QUEUED, JobState.RUNNING})

_LIST = """
SELECT * FROM realm_jobs WHERE state IN ({states}) ORDER BY
    CASE state WHEN 'running' THEN 0 WHEN 'queued' THEN 1 ELSE 2 END,
    CASE WHEN state = 'queued' THEN started_at IS NULL END,
    CASE WHEN state IN ('running', 'queued') THEN rank END,
    CASE WHEN state IN ('running', 'queued') THEN sequence END,
    COALESCE(ended_at, created_at) DESC, sequence DESC
LIMIT ?
"""
_INSERT = """
INSERT INTO realm_jobs
    (id, kind, title, payload, rank, state, request, attempt, reason, history, created_at)
VALUES (?, ?, ?, ?, ?, 'queued', 'none', 0, '', '[]', ?)
ON CONFLICT (id) DO NOTHING
"""
_CLAIMABLE = """
SELECT 1 WHERE EXISTS (SELECT 1 FROM realm_jobs WHERE state = 'queued')
    AND (SELECT count(*) FROM realm_jobs WHERE state = 'running' AND worker = ?) < ?
"""
_NEXT = "SELECT * FROM realm_jobs WHERE state = 'queued' ORDER BY started_at IS NULL, rank, sequence LIMIT 1"
_UPDATE = """
UPDATE realm_jobs SET rank = ?, state = ?, request = ?, attempt = ?, reason = ?, history = ?,
    started_at = ?, ended_at = ? WHERE id = ?
"""


class JobQueue:
    """Add jobs, look at them and change their course. Safe from several processes and threads."""

    def __init__(self, database: Path, *, clock: Clock = utc_now) -> None:
        self.database = database
        self._clock = clock
        self._db = JobsDatabase(database)

    def close(self) -> None:
        """Close the database; no other method works afterwards."""
        self._db.close()

    # --- for everybody --------------------------------------------------------------------

    def add(
        self,
        job_id: str,
        kind: str,
        payload: dict[str, Any],
        *,
        title: str = "",
        priority: Priority = Priority.NORMAL,
    ) -> Job:
        """Queue a job. A job of that id that exists already is returned unchanged."""
        _check_name(job_id)
        text = canonical_json(payload)
        with self._db.write() as connection:
            values = (job_id, kind, title or job_id, text, RANKS[priority], _text(self._clock()))
            connection.execute(_INSERT, values)
            return _find(connection, job_id)

    def get(self, job_id: str) -> Job:
        """Return one job. Raises NotFoundError."""
        with self._db.read() as connection:
            return _find(connection, job_id)

    def list(self, states: Collection[JobState] | None = None, limit: int | None = None) -> Jobs:
        """List jobs: running, then queued as they will run, then the rest, newest first."""
        wanted = list(JobState) if states is None else [JobState(state) for state in states]
        statement = _LIST.format(states=",".join("?" * len(wanted)))
        with self._db.read() as connection:
            rows = connection.execute(statement, (*wanted, -1 if limit is None else limit)).fetchall()
        return [_job(row) for row in rows]

    def owed(self) -> Jobs:
        """List the jobs that still have to end: running and queued."""
        return self.list(_OWED)

    def idle(self) -> bool:
        """Tell whether nothing runs and nothing waits to run; paused jobs do not count."""
        with self._db.read() as connection:
            statement = "SELECT 1 FROM realm_jobs WHERE state IN ('queued', 'running') LIMIT 1"
            return connection.execute(statement).fetchone() is None

    def move(self, job_id: str, priority: Priority) -> Job:
        """Give a waiting job another priority; its age keeps counting."""
        with self._db.write() as connection:
            job = _in_state(connection, job_id, "moved", _WAITING)
            return _save(connection, job.model_copy(update={"priority": Priority(priority)}))

    def retry(self, job_id: str) -> Job:
        """Queue a failed or dropped job again; the old reason joins its history."""
        with self._db.write() as connection:
            job = _in_state(connection, job_id, "retried", {JobState.FAILED, JobState.DROPPED})
            return _save(connection, _requeued(job))

    def resume(self, job_id: str) -> Job:
        """Queue a paused job again."""
        with self._db.write() as connection:
            job = _in_state(connection, job_id, "resumed", {JobState.PAUSED})
            return _save(connection, _requeued(job))

    def drop(self, job_id: str, reason: str) -> Job:
        """Give up a job that is not running. Raises StateError for a running one: stop it first."""
        with self._db.write() as connection:
            job = _in_state(connection, job_id, "dropped", {*_WAITING, JobState.FAILED})
            return _save(connection, self._dropped(job, reason))

    def pause(self, job_id: str) -> Job:
        """Pause a queued job at once; ask a running one to save and leave."""
        with self._db.write() as connection:
            job = _in_state(connection, job_id, "paused", _OWED)
            if job.state is JobState.QUEUED:
                return _save(connection, job.model_copy(update={"state": JobState.PAUSED}))
            if job.request is Request.STOP:
                raise StateError(f"job {job_id} is being stopped", hint="wait until it has ended")
            return _save(connection, job.model_copy(update={"request": Request.PAUSE}))

    def stop(self, job_id: str) -> Job:
        """Ask a running job to end for good; drop a waiting one."""
        with self._db.write() as connection:
            job = _in_state(connection, job_id, "stopped", {JobState.RUNNING, *_WAITING})
            if job.state is JobState.RUNNING:
                return _save(connection, job.model_copy(update={"request": Request.STOP}))
            return _save(connection, self._dropped(job, "stopped while it was waiting"))

    # --- for the worker -------------------------------------------------------------------

    def claim(self, worker: str, concurrency: int) -> Job | None:
        """Begin the next queued job, unless this worker runs `concurrency` jobs already."""
        # Asked many times a second: without the write lock, as long as there is nothing to do.
        with self._db.read() as connection:
            if connection.execute(_CLAIMABLE, (worker, concurrency)).fetchone() is None:
                return None
        with self._db.write() as connection:
            if len(_running(connection, worker)) >= concurrency:
                return None
            row = connection.execute(_NEXT).fetchone()
            if row is None:
                return None
            connection.execute("UPDATE realm_jobs SET worker = ? WHERE id = ?", (worker, row["id"]))
            return _save(connection, self._begun(_job(row)))

    def running(self, worker: str) -> Jobs:
        """List the jobs that this worker began and did not finish."""
        with self._db.read() as connection:
            return _running(connection, worker)

    def finish(self, job_id: str, attempt: int, state: JobState, reason: str) -> Job | None:
        """End an attempt as done, failed or paused. None if that attempt has ended before."""
        with self._db.write() as connection:
            job = _find(connection, job_id)
            if job.state is not JobState.RUNNING or job.attempt != attempt:
                return None
            ended = None if state is JobState.PAUSED else self._clock()
            changes = {"state": state, "reason": reason, "request": Request.NONE, "ended_at": ended}
            return _save(connection, job.model_copy(update=changes))

    def put_back(self) -> Jobs:
        """Queue every running job again; only for who knows that nobody works any more. Return these jobs.

        They are the next to be claimed, whatever the priority of others: what follows may build on what
        they saved. A pause or stop that was asked of one, and that nobody heeded, happens at once.
        """
        with self._db.write() as connection:
            rows = connection.execute("SELECT * FROM realm_jobs WHERE state = 'running'").fetchall()
            return [_save(connection, self._put_back(_job(row))) for row in rows]

    def executor(self, worker: str, proposal: str) -> str:
        """Return the worker's executor id: the one it proposed when it first came here."""
        with self._db.write() as connection:
            connection.execute(
                "INSERT INTO realm_workers (name, executor) VALUES (?, ?) ON CONFLICT DO NOTHING",
                (worker, proposal),
            )
            query = "SELECT executor FROM realm_workers WHERE name = ?"
            (executor,) = connection.execute(query, (worker,)).fetchone()
            return str(executor)

    def _begun(self, job: Job) -> Job:
        changes = {
            "state": JobState.RUNNING,
            "request": Request.NONE,
            "attempt": job.attempt + 1,
            "started_at": self._clock(),
        }
        return job.model_copy(update=changes)

    def _put_back(self, job: Job) -> Job:
        if job.request is Request.STOP:
            return self._dropped(job, "stopped after whoever worked on it had left")
        state = JobState.PAUSED if job.request is Request.PAUSE else JobState.QUEUED
        return job.model_copy(update={"state": state, "request": Request.NONE})

    def _dropped(self, job: Job, reason: str) -> Job:
        changes = {
            "state": JobState.DROPPED,
            "request": Request.NONE,
            "reason": reason,
            "history": _history(job),
            "ended_at": self._clock(),
        }
        return job.model_copy(update=changes)


def _requeued(job: Job) -> Job:
    changes = {
        "state": JobState.QUEUED,
        "request": Request.NONE,
        "reason": "",
        "history": _history(job),
        "started_at": None,
        "ended_at": None,
    }
    return job.model_copy(update=changes)


def _history(job: Job) -> tuple[str, ...]:
    return (*job.history, job.reason) if job.reason else job.history


def _in_state(connection: sqlite3.Connection, job_id: str, action: str, states: Collection[JobState]) -> Job:
    job = _find(connection, job_id)
    if job.state not in states:
        raise StateError(
            f"job {job_id} is {job.state} and cannot be {action}",
            hint=f"possible now: {_POSSIBLE[job.state]}",
        )
    return job


def _find(connection: sqlite3.Connection, job_id: str) -> Job:
    row = connection.execute("SELECT * FROM realm_jobs WHERE id = ?", (job_id,)).fetchone()
    if row is None:
        newest = connection.execute("SELECT id FROM realm_jobs ORDER BY sequence DESC LIMIT 5").fetchall()
        known = ", ".join(found["id"] for found in newest)
        raise NotFoundError(
            f"there is no job {job_id}", hint=f"the newest are: {known}" if known else "the queue is empty"
        )
    return _job(row)


def _running(connection: sqlite3.Connection, worker: str) -> Jobs:
    statement = "SELECT * FROM realm_jobs WHERE state = 'running' AND worker = ? ORDER BY rank, sequence"
    return [_job(row) for row in connection.execute(statement, (worker,)).fetchall()]


def _save(connection: sqlite3.Connection, job: Job) -> Job:
    values = (
        RANKS[job.priority],
        job.state,
        job.request,
        job.attempt,
        job.reason,
        json.dumps(job.history, ensure_ascii=False),
        _text(job.started_at),
        _text(job.ended_at),
        job.id,
    )
    connection.execute(_UPDATE, values)
    return job


def _job(row: sqlite3.Row) -> Job:
    return Job(
        id=row["id"],
        kind=row["kind"],
        title=row["title"],
        payload=json.loads(row["payload"]),
        priority=_PRIORITIES[row["rank"]],
        state=JobState(row["state"]),
        request=Request(row["request"]),
        attempt=row["attempt"],
        reason=row["reason"],
        history=tuple(json.loads(row["history"])),
        created_at=datetime.fromisoformat(row["created_at"]),
        started_at=_moment(row["started_at"]),
        ended_at=_moment(row["ended_at"]),
    )


def _text(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def _check_name(job_id: str) -> None:
    try:
        _NAME.validate_python(job_id)
    except ValidationError:
        raise UsageError(
            f"{job_id!r} cannot name a job", hint="use letters, digits, dots, dashes and underscores"
        ) from None
