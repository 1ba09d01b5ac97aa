"""Answers of a served model, kept by the hash of the whole request.

One SQLite file that only its owner may read: an answer is on the disk before it is used, so that a
process that was killed asks again for nothing but what was under way. It holds no request, only its
hash, and no key.
"""

from __future__ import annotations

import os
import sqlite3
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from realm.core.errors import CorruptError, StorageError
from realm.storage.durable import explained, make_dir

_APPLICATION = 0x5245414C
_WAIT_S = 30.0
_TABLE = (
    "CREATE TABLE IF NOT EXISTS answers"
    " (request TEXT PRIMARY KEY, text TEXT NOT NULL, complete INTEGER NOT NULL) WITHOUT ROWID"
)


class Answer(NamedTuple):
    """What the model wrote."""

    text: str
    complete: bool
    """It ended by itself, not at a limit."""


class AnswerStore:
    """Keep and find answers; usable from several threads and processes."""

    def __init__(self, path: Path) -> None:
        """Open or make the file. Raises StorageError or CorruptError."""
        self._path = path
        self._lock = threading.Lock()
        make_dir(path.parent)
        _private(path)
        with self._told():
            self._base = sqlite3.connect(path, timeout=_WAIT_S, check_same_thread=False, isolation_level=None)
            self._base.execute("PRAGMA synchronous=FULL")
            if self._base.execute("PRAGMA application_id").fetchone()[0] not in (0, _APPLICATION):
                self._base.close()
                raise self._foreign()
            self._base.execute(f"PRAGMA application_id={_APPLICATION}")
            self._base.execute(_TABLE)

    def get(self, request: str) -> Answer | None:
        """Return what this request was answered with."""
        with self._lock, self._told():
            row = self._base.execute(
                "SELECT text, complete FROM answers WHERE request=?", (request,)
            ).fetchone()
        return None if row is None else Answer(str(row[0]), bool(row[1]))

    def put(self, request: str, answer: Answer) -> None:
        """Keep an answer; it is on the disk when this returns."""
        with self._lock, self._told():
            self._base.execute(
                "INSERT OR REPLACE INTO answers VALUES (?, ?, ?)",
                (request, answer.text, int(answer.complete)),
            )

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._base.close()

    def _foreign(self) -> CorruptError:
        return CorruptError(
            f"{self._path}: not a store of answers", hint="name another file; this one is left as it is"
        )

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            raise StorageError(
                f"{self._path}: {error}", hint="free space or end the other process, then try again"
            ) from None
        except sqlite3.DatabaseError:
            raise self._foreign() from None


def _private(path: Path) -> None:
    """Make the file if need be, and take it from everyone but its owner."""
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    with explained(path):
        try:
            descriptor = os.open(path, flags, 0o600)
        except OSError as error:
            if error.filename is None or not (path.is_symlink() or path.is_dir()):
                raise
            raise StorageError(f"{path}: a link or a folder", hint="name a file of its own") from None
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise StorageError(f"{path}: not a regular file", hint="name a file of its own")
        os.fchmod(descriptor, 0o600)
    finally:
        os.close(descriptor)
