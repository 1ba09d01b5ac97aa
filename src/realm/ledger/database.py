"""One database: connections that lose nothing, transactions that never deadlock, readable errors."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import DatabaseError
from sqlalchemy.orm import Session

from realm.core.clock import Clock
from realm.core.errors import CorruptError, RealmError, StorageError, UsageError

_BUSY_S = 10
_LARGEST = 2**63 - 1
"""Of the numbers that SQLite stores."""
_PRAGMAS = (f"busy_timeout={1000 * _BUSY_S}", "journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON")
_DISK_CODES = {
    sqlite3.SQLITE_FULL: "free some space, then try again; nothing that was saved before is harmed",
    sqlite3.SQLITE_IOERR: "check free space and the disk (see `dmesg`), then try again",
    sqlite3.SQLITE_READONLY: "mend the permissions of the ledger and its folder",
    sqlite3.SQLITE_CANTOPEN: "check that its folder exists, is writable and has free space",
    sqlite3.SQLITE_BUSY: "another process has been writing for 10 s; try again",
}
_CORRUPT_CODES = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


class Database:
    """Sessions over SQLite (default) or any database that SQLAlchemy reaches by URL."""

    def __init__(self, place: Path | str, clock: Clock) -> None:
        self.place = str(place)
        self.clock = clock
        self.engine = _engine(place)
        self._writer = self.engine.execution_options(realm_writes=True)

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """Read one consistent state."""
        with self.explained(), Session(self.engine) as session:
            yield session

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """Write in one transaction: all of it is durable afterwards, or none of it."""
        with self.explained(), Session(self._writer, expire_on_commit=False) as session, session.begin():
            yield session

    @contextmanager
    def changing_schema(self) -> Iterator[Connection]:
        """Hold the only writing transaction, for a migration."""
        with self.explained(), self._writer.connect() as connection, connection.begin():
            yield connection

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Turn what the database's disk refuses into errors with a next step."""
        try:
            yield
        except DatabaseError as error:
            known = self._known(error)
            if known is None:
                raise
            raise known from error
        except OverflowError as error:
            if "SQLite" not in str(error):
                raise
            raise UsageError(
                "a number is larger than the ledger holds", hint=f"the largest is {_LARGEST}"
            ) from error

    def _known(self, error: DatabaseError) -> RealmError | None:
        code = getattr(error.orig, "sqlite_errorcode", None)
        if code is None:
            return None
        code &= 0xFF  # the primary code of an extended one
        if code in _CORRUPT_CODES:
            return CorruptError(
                f"{self.place}: {error.orig}", hint="restore the ledger from a backup; keep the damaged file"
            )
        if code in _DISK_CODES:
            return StorageError(f"{self.place}: {error.orig}", hint=_DISK_CODES[code])
        return None


def _engine(place: Path | str) -> Engine:
    if isinstance(place, str) and "://" in place:
        url = make_url(place)
    else:
        url = make_url("sqlite://").set(database=str(place))
    if url.get_backend_name() != "sqlite":
        return create_engine(url, isolation_level="SERIALIZABLE")
    engine = create_engine(url)
    event.listen(engine, "connect", _prepare)
    event.listen(engine, "begin", _begin)
    return engine


def _prepare(connection: Any, record: object) -> None:
    connection.isolation_level = None  # the driver would begin transactions too late and on its own
    for pragma in _PRAGMAS:
        _set(connection, pragma)


def _set(connection: Any, pragma: str) -> None:
    """Set a pragma. SQLite refuses WAL at once, without waiting, while another process opens."""
    deadline = time.monotonic() + _BUSY_S
    while True:
        try:
            connection.execute(f"PRAGMA {pragma}").close()
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.02)


def _begin(connection: Connection) -> None:
    # A transaction that reads first and writes later may be refused for ever by another writer.
    writes = connection.get_execution_options().get("realm_writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
