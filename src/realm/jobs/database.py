"""The jobs database: one SQLite file, shared with DBOS, opened so that a power cut loses nothing."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from realm.core.errors import CorruptError, StateError, StorageError

BUSY_TIMEOUT_S = 30.0
SCHEMA_VERSION = 1

_SCHEMA = (
    """CREATE TABLE IF NOT EXISTS realm_jobs (
        sequence INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL UNIQUE,
        kind TEXT NOT NULL,
        title TEXT NOT NULL,
        payload TEXT NOT NULL,
        rank INTEGER NOT NULL,
        state TEXT NOT NULL,
        request TEXT NOT NULL,
        attempt INTEGER NOT NULL,
        reason TEXT NOT NULL,
        history TEXT NOT NULL,
        created_at TEXT NOT NULL,
        started_at TEXT,
        ended_at TEXT,
        worker TEXT
    )""",
    "CREATE INDEX IF NOT EXISTS realm_jobs_order ON realm_jobs (state, rank, sequence)",
    "CREATE TABLE IF NOT EXISTS realm_workers (name TEXT PRIMARY KEY, executor TEXT NOT NULL)",
    f"PRAGMA user_version = {SCHEMA_VERSION}",
)


class JobsDatabase:
    """One connection, used by one thread at a time, with errors of this room."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        path.parent.mkdir(parents=True, exist_ok=True)
        with self._mapped_errors():
            self._connection = sqlite3.connect(
                path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
            )
            self._connection.row_factory = sqlite3.Row
            self._prepare()

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """Give the connection for one statement that only reads."""
        with self._lock, self._mapped_errors():
            yield self._connection

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """Give the connection inside one transaction; an exception undoes all of it."""
        with self._lock, self._mapped_errors():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    def close(self) -> None:
        """Close the connection."""
        with self._lock:
            self._connection.close()

    def _prepare(self) -> None:
        self._enter_wal()
        self._connection.execute("PRAGMA synchronous = FULL")
        (version,) = self._connection.execute("PRAGMA user_version").fetchone()
        if version > SCHEMA_VERSION:
            raise StateError(
                f"{self.path} was written by a newer version of Realm (schema {version})",
                hint="update Realm, or use another home",
            )
        if version == SCHEMA_VERSION:
            return
        self._connection.execute("BEGIN IMMEDIATE")
        for statement in _SCHEMA:
            self._connection.execute(statement)
        self._connection.execute("COMMIT")

    def _enter_wal(self) -> None:
        """Switch to WAL. SQLite refuses that at once, without waiting, while another process opens."""
        deadline = time.monotonic() + BUSY_TIMEOUT_S
        while True:
            try:
                self._connection.execute("PRAGMA journal_mode = WAL")
                return
            except sqlite3.OperationalError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.02)

    @contextmanager
    def _mapped_errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            raise StorageError(
                f"{self.path}: {error}", hint="free some space or check the disk, then try again"
            ) from error
        except sqlite3.DatabaseError as error:
            raise CorruptError(
                f"{self.path}: {error}", hint="move the file away to start with an empty queue"
            ) from error
