"""The worker: claims jobs, has their attempts run durably, and records how they ended.

The table is the truth for people, DBOS executes. A job is claimed in the table first and then
handed to DBOS, and it is finished in the table before DBOS hears of it. So after a crash a
row is either owed (it runs again, as the same attempt) or ended (what DBOS still holds is void).

A step may be run again from its start after a crash: it must be able to resume, and what it
publishes must bear being published twice. It runs on the worker's event loop: long blocking
work belongs into a child or `asyncio.to_thread`.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import queue as channels
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Literal

from realm.core.errors import HeldError, RealmError, StorageError
from realm.core.records import Record
from realm.jobs.engine import AttemptState, Engine
from realm.jobs.queue import RANKS, Job, JobQueue, JobState, Request

TICK_S = 0.04
"""Pause between two looks at the queue; the end of an attempt cuts it short."""
RECONCILE_S = 5.0
RETRY_S = 1.0
"""Pause after a full or failing disk."""
REMIND_S = 60.0
"""Pause between two warnings of a trouble that lasts."""
HOLD_TIMEOUT_S = 2.0
"""How long a new worker waits for a killed one to leave its lock."""

_log = logging.getLogger(__name__)


class Outcome(Record):
    """How an attempt ended without an error."""

    state: Literal["done", "paused", "stopped"]
    reason: str = ""


class StepContext:
    """What a step knows of its job, and what people ask of it meanwhile."""

    def __init__(self, queue: JobQueue, job: Job) -> None:
        self.job = job
        self.attempt = job.attempt
        self._queue = queue

    def request(self) -> Request:
        """Read what was asked of this job; cheap enough for every 0.1 s."""
        return self._queue.get(self.job.id).request


Step = Callable[[StepContext], Awaitable[Outcome]]


class Reminder:
    """Warns of a trouble at once, and while it lasts once a minute."""

    def __init__(self) -> None:
        self._again_at = time.monotonic()

    def warn(self, message: str, *told: object) -> None:
        """Log a warning, unless this one has given one within the last minute."""
        if time.monotonic() >= self._again_at:
            self._again_at = time.monotonic() + REMIND_S
            _log.warning(message, *told)


async def recorded(write: Callable[[], object], what: str) -> None:
    """Record what happened; while the disk refuses, try again until it takes it."""
    reminder = Reminder()
    while True:
        try:
            write()
        except StorageError as error:
            reminder.warn("%s but cannot be recorded yet: %s", what, error)
            await asyncio.sleep(RETRY_S)
        else:
            return


class Worker:
    """Run queued jobs with the given steps, one by kind of job."""

    def __init__(
        self,
        queue: JobQueue,
        steps: Mapping[str, Step],
        *,
        name: str = "worker",
        concurrency: int = 1,
        on_change: Callable[[Job], None] | None = None,
        awaited: str | None = None,
    ) -> None:
        """`awaited` is the job whose end the caller tells by itself: its failure is logged for nobody."""
        self.queue = queue
        self.name = name
        self._steps = dict(steps)
        self._concurrency = concurrency
        self._on_change = on_change
        self._awaited = awaited
        self._ended: channels.SimpleQueue[Job] = channels.SimpleQueue()
        self._wake = threading.Event()
        self._unwritable = Reminder()

    def run(self, until: Callable[[], bool]) -> None:
        """Work until `until()` is true, then leave within 2 s.

        A step that still runs gets CancelledError and its job stays `running`; the next start
        runs that attempt again, unless the job was put back into the queue. `on_change` is called
        in this thread for every job that began or ended; what it raises ends the run. Raises
        HeldError if another worker of this name works on the same queue.
        """
        with self._held():
            engine = self._engine()
            engine.launch()
            try:
                self._work(engine, until)
            finally:
                engine.shutdown()
                self._announce()

    def _engine(self) -> Engine:
        executor = self.queue.executor(self.name, f"{socket.gethostname()}:{self.name}")
        return Engine(self.queue.database, queue=self.name, executor=executor, execute=self._execute)

    # --- the loop, in the caller's thread -------------------------------------------------

    def _work(self, engine: Engine, until: Callable[[], bool]) -> None:
        reconcile_at = time.monotonic()
        while not until():
            self._wake.clear()
            try:
                if time.monotonic() >= reconcile_at:
                    self._reconcile(engine)
                    reconcile_at = time.monotonic() + RECONCILE_S
                self._dispatch(engine)
            except StorageError as error:
                # What is claimed but not handed over is found by the next reconcile.
                self._unwritable.warn("worker %s cannot write, it tries again: %s", self.name, error)
                self._wake.wait(RETRY_S)
            self._announce()
            self._wake.wait(TICK_S)

    def _dispatch(self, engine: Engine) -> None:
        """Hand over as many jobs as there are free places: no second order exists in DBOS."""
        while (job := self.queue.claim(self.name, self._concurrency)) is not None:
            engine.enqueue(job.id, job.attempt, RANKS[job.priority])
            self._tell(job)

    def _reconcile(self, engine: Engine) -> None:
        """Make table and DBOS agree. May run at any time, any number of times."""
        for job in self.queue.running(self.name):
            state = engine.state(job.id, job.attempt)
            if state is AttemptState.ABSENT:
                engine.enqueue(job.id, job.attempt, RANKS[job.priority])
            elif state is AttemptState.ENDED:
                self._finish(job.id, job.attempt, JobState.FAILED, "its attempt ended without a result")
        engine.prune()

    def _announce(self) -> None:
        while not self._ended.empty():
            self._tell(self._ended.get())

    def _tell(self, job: Job) -> None:
        if self._on_change is not None:
            self._on_change(job)

    # --- one attempt, on the event loop ---------------------------------------------------

    async def _execute(self, job_id: str, attempt: int) -> None:
        job = self.queue.get(job_id)
        if job.state is not JobState.RUNNING or job.attempt != attempt:
            return
        state, reason = await self._outcome(job)
        finish = partial(self._finish, job_id, attempt, state, reason)
        await recorded(finish, f"job {job_id} ended ({state.value})")

    async def _outcome(self, job: Job) -> tuple[JobState, str]:
        step = self._steps.get(job.kind)
        if step is None:
            known = ", ".join(sorted(self._steps))
            return JobState.FAILED, f"nothing here runs jobs of kind {job.kind!r}; there are: {known}"
        try:
            return _ended_as(await step(StepContext(self.queue, job)))
        except RealmError as error:
            if job.id != self._awaited:
                _log.warning("job %s failed: %s", job.id, error)
            return JobState.FAILED, str(error)
        except asyncio.CancelledError as error:
            if _is_cancelled_from_outside():
                raise
            return JobState.FAILED, _described(job, error)
        # The edge of a job step: whatever its code raises ends this job and nothing else.
        except (Exception, SystemExit) as error:  # noqa: BLE001
            return JobState.FAILED, _described(job, error)

    def _finish(self, job_id: str, attempt: int, state: JobState, reason: str) -> None:
        job = self.queue.finish(job_id, attempt, state, reason)
        if job is not None:
            self._ended.put(job)
        self._wake.set()

    @contextmanager
    def _held(self) -> Iterator[None]:
        """Hold this worker's name on this queue: two processes as one executor would run a job twice."""
        path = self.queue.database.with_name(f"{self.name}.lock")
        with path.open("ab") as file:
            deadline = time.monotonic() + HOLD_TIMEOUT_S
            while True:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > deadline:
                        raise HeldError(
                            f"another {self.name} works on {self.queue.database}", hint="stop it first"
                        ) from None
                    time.sleep(0.02)
            yield


def _ended_as(outcome: Outcome) -> tuple[JobState, str]:
    if outcome.state == "paused":
        return JobState.PAUSED, outcome.reason
    if outcome.state == "done" or outcome.reason.startswith("stopped"):
        return JobState.DONE, outcome.reason
    return JobState.DONE, f"stopped: {outcome.reason}" if outcome.reason else "stopped"


def _described(job: Job, error: BaseException) -> str:
    _log.error("job %s failed", job.id, exc_info=error)
    return f"{type(error).__name__}: {error}"


def _is_cancelled_from_outside() -> bool:
    """Tell the worker's shutdown from a step that raised CancelledError by itself."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
