"""DBOS behind one class: the only module that imports it, and only when a worker starts.

One attempt of a job is one workflow of one step. DBOS persists that the attempt is to be run
and runs it again after a crash; everything people see is in the queue's own table.
Not used here: DBOS's admin server, conductor, telemetry and pickled values.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sqlite3
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import Any

from realm.core.errors import StateError, StorageError, UnsafeFileError, UsageError

APPLICATION = "realm"
APPLICATION_VERSION = "1"
"""Pinned: DBOS would derive it from the source, and a code change would strand pending attempts."""
POLL_S = 0.1
"""How often DBOS looks for an enqueued attempt; 0.05 costs twice the idle CPU time (2 % of a core)."""
SHUTDOWN_S = 1.5
"""How long a running step may take to end its child when the worker leaves."""
PRUNE_BATCH = 200

Execute = Callable[[str, int], Awaitable[None]]
"""Runs one attempt of a job and records its end; raises only CancelledError."""

_log = logging.getLogger(__name__)
_in_use = threading.Lock()


class AttemptState(StrEnum):
    """What DBOS knows of an attempt."""

    ABSENT = "absent"
    LIVE = "live"
    ENDED = "ended"


class Engine:
    """Run attempts durably. One engine at a time in a process: DBOS is a singleton."""

    def __init__(self, database: Path, *, queue: str, executor: str, execute: Execute) -> None:
        self._database = database
        self._queue = queue
        self._executor = executor
        self._execute = execute
        self._running: set[asyncio.Task[Any]] = set()
        self._workflow: Callable[[str, int], Awaitable[None]] | None = None

    def launch(self) -> None:
        """Start DBOS; attempts that a crash interrupted begin to run again."""
        if not _in_use.acquire(blocking=False):
            raise StateError("a worker runs in this process already", hint="start another process")
        try:
            _refuse_pickles(self._database)
            with self._mapped_errors():
                self._start()
        except BaseException:
            self.shutdown()
            raise

    def enqueue(self, job_id: str, attempt: int, rank: int) -> None:
        """Hand an attempt to DBOS. The same attempt twice is one attempt."""
        from dbos import DBOS, SetEnqueueOptions, SetWorkflowID

        if self._workflow is None:
            raise RuntimeError("enqueue before launch")
        options = SetEnqueueOptions(priority=rank)
        with self._mapped_errors(), SetWorkflowID(_workflow_id(job_id, attempt)), options:
            DBOS.enqueue_workflow(self._queue, self._workflow, job_id, attempt)

    def state(self, job_id: str, attempt: int) -> AttemptState:
        """Tell whether DBOS will still run, or runs, this attempt."""
        from dbos import DBOS

        with self._mapped_errors():
            status = DBOS.get_workflow_status(_workflow_id(job_id, attempt))
        if status is None:
            return AttemptState.ABSENT
        live = status.status in {"ENQUEUED", "DELAYED", "PENDING"}
        return AttemptState.LIVE if live else AttemptState.ENDED

    def prune(self) -> int:
        """Delete ended workflows; the queue's table keeps what is worth keeping."""
        from dbos import DBOS

        with self._mapped_errors():
            ended = DBOS.list_workflows(
                status=["SUCCESS", "ERROR", "CANCELLED", "MAX_RECOVERY_ATTEMPTS_EXCEEDED"],
                limit=PRUNE_BATCH,
                load_input=False,
                load_output=False,
            )
            if ended:
                DBOS.delete_workflows([workflow.workflow_id for workflow in ended])
        return len(ended)

    def shutdown(self) -> None:
        """Interrupt running steps, wait until they have cleaned up, and stop DBOS."""
        from dbos import DBOS

        _quiet(logging.ERROR)
        self._interrupt()
        try:
            DBOS.destroy(destroy_registry=True)
        finally:
            self._workflow = None
            _in_use.release()

    def _start(self) -> None:
        from dbos import DBOS, DBOSPortableJSONSerializer

        _quiet(logging.WARNING)
        url = _sqlite_url(self._database)
        self._declare_queue(url)
        DBOS(
            config={
                "name": APPLICATION,
                "system_database_url": url,
                "application_version": APPLICATION_VERSION,
                "executor_id": self._executor,
                "serializer": DBOSPortableJSONSerializer(),
                "log_level": "WARNING",
                "enable_otlp": False,
                # The listener thread ends within one interval; it only looks at memory.
                "notification_listener_polling_interval_sec": POLL_S,
                "db_engine_kwargs": {"pool_pre_ping": False},
            }
        )
        self._workflow = self._register()
        DBOS.listen_queues([self._queue])
        DBOS.launch()

    def _declare_queue(self, url: str) -> None:
        """Declare the queue before the launch: a queue that comes later is noticed after 1 s."""
        from dbos import DBOS, DBOSClient

        DBOS.migrate(url)
        client = DBOSClient(system_database_url=url, application_name=APPLICATION)
        try:
            # No concurrency limit here: the queue's table decides how many attempts exist.
            client.register_queue(self._queue, polling_interval_sec=POLL_S)
        finally:
            client.destroy()

    def _register(self) -> Callable[[str, int], Awaitable[None]]:
        from dbos import DBOS

        @DBOS.step(name="realm.step", preemptible=True)
        async def step(job_id: str, attempt: int) -> None:
            task = asyncio.current_task()
            assert task is not None
            self._running.add(task)
            try:
                await self._execute(job_id, attempt)
            finally:
                self._running.discard(task)

        # Without a limit of recoveries: a lab that is switched off every evening is no crash loop.
        @DBOS.workflow(name="realm.attempt", max_recovery_attempts=None)
        async def workflow(job_id: str, attempt: int) -> None:
            await step(job_id, attempt)

        return workflow

    @contextlib.contextmanager
    def _mapped_errors(self) -> Iterator[None]:
        from sqlalchemy.exc import OperationalError

        try:
            yield
        except OperationalError as error:
            raise StorageError(f"{self._database}: {error.orig}", hint="free some space") from error

    def _interrupt(self) -> None:
        """Cancel steps once; DBOS's own shutdown would cancel again, into their cleaning up."""
        for task in list(self._running):
            # A loop that has closed has no steps left to cancel.
            with contextlib.suppress(RuntimeError):
                task.get_loop().call_soon_threadsafe(task.cancel)
        deadline = time.monotonic() + SHUTDOWN_S
        while self._running and time.monotonic() < deadline:
            time.sleep(0.005)
        if self._running:
            _log.error("%d step(s) did not end within %.1f s", len(self._running), SHUTDOWN_S)


def _sqlite_url(database: Path) -> str:
    from sqlalchemy import URL, make_url

    url = URL.create("sqlite", database=str(database)).render_as_string()
    if make_url(url).database != str(database):
        raise UsageError(f"{database} cannot hold a queue", hint="use a folder without ? and % in its name")
    return url


def _workflow_id(job_id: str, attempt: int) -> str:
    return f"{job_id}.{attempt}"


def _quiet(level: int) -> None:
    """Keep DBOS from adding its own console handler, and drop what is below the level."""
    logger = logging.getLogger("dbos")
    if not logger.handlers:
        logger.addHandler(logging.NullHandler())
    logger.setLevel(level)


def _refuse_pickles(database: Path) -> None:
    """Refuse a foreign database with pickled values: DBOS would load them, and loading runs code."""
    with contextlib.closing(sqlite3.connect(database)) as connection:
        tables = [
            name
            for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            if any(
                column[1] == "serialization" for column in connection.execute(f"PRAGMA table_info({name})")
            )
        ]
        for table in tables:
            query = f"SELECT 1 FROM {table} WHERE serialization = 'py_pickle' LIMIT 1"  # noqa: S608
            if connection.execute(query).fetchone() is not None:
                raise UnsafeFileError(
                    f"{database}: table {table} holds pickled values, which can run code",
                    hint="this queue was not written by Realm; move the file away",
                )
