"""Locks that die with their process: who holds a home, and who changes a vault."""

from __future__ import annotations

import fcntl
import os
import socket
import sys
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from pydantic import ValidationError

from realm.core.clock import iso, utc_now
from realm.core.errors import HeldError, StateError, StorageError
from realm.core.records import Record
from realm.storage.durable import explained

_POLL_S = 0.01
_PROBE_S = 0.2
"""How long `acquire` waits out a `holder` that is just looking."""


class Holder(Record):
    """The process that holds a home."""

    pid: int
    host: str
    since: datetime
    command: str


class HomeLock:
    """Hold one home for as long as this process lives, or until `release`.

    No child inherits it: neither one that executes a program nor one that is only forked.
    """

    def __init__(self, home: Path) -> None:
        self.home = home
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Take the lock. Raises HeldError naming the process that has it."""
        path = _lock_path(self.home)
        with explained(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = _open(path)
        try:
            if not _locked_within(descriptor, _PROBE_S):
                raise _held(self.home)
            with explained(path):
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, _this_process().model_dump_json().encode(), 0)
        except BaseException:
            os.close(descriptor)
            raise
        self._descriptor = descriptor
        _close_after_fork(self)

    def release(self) -> None:
        """Give the lock back. Does nothing when it is not held."""
        if self._descriptor is not None:
            os.ftruncate(self._descriptor, 0)
            self.forget()

    def forget(self) -> None:
        """Close this process's handle; a forked child does so without freeing its parent's lock."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def holder(home: Path) -> Holder | None:
    """Tell which process holds a home at this moment; None when nobody does."""
    path = _lock_path(home)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    deadline = time.monotonic() + _PROBE_S
    try:
        while True:
            if _try_lock(descriptor, fcntl.LOCK_SH):
                return None
            try:
                return Holder.model_validate_json(os.pread(descriptor, 1 << 16, 0))
            except ValidationError:
                if time.monotonic() > deadline:  # longer than the moment between locking and writing
                    raise StateError(
                        f"{path}: held, but it does not tell by whom",
                        hint=f"`fuser {path}` names the process",
                    ) from None
            time.sleep(_POLL_S)
    finally:
        os.close(descriptor)


@contextmanager
def exclusive(path: Path, timeout_s: float = 30.0) -> Iterator[None]:
    """Be the only one of all threads and processes here. Not reentrant; raises StorageError."""
    with explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = _open(path)
    try:
        if not _locked_within(descriptor, timeout_s):
            raise StorageError(
                f"{path}: another process has been changing the vault for {timeout_s:.0f} s",
                hint=f"`fuser {path}` names it; try again when it is done",
            )
        yield
    finally:
        os.close(descriptor)


def mark_alive(path: Path) -> int:
    """Make a file that stays locked until this process ends, and return its descriptor."""
    with explained(path):
        descriptor = _open(path)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    return descriptor


def is_alive(path: Path) -> bool:
    """Tell whether the process that made this mark still lives."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return not _try_lock(descriptor, fcntl.LOCK_EX)
    finally:
        os.close(descriptor)


def _lock_path(home: Path) -> Path:
    return home / ".realm" / "lock"


def _open(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _try_lock(descriptor: int, mode: int) -> bool:
    try:
        fcntl.flock(descriptor, mode | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _locked_within(descriptor: int, timeout_s: float) -> bool:
    deadline = time.monotonic() + timeout_s
    while not _try_lock(descriptor, fcntl.LOCK_EX):
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_S)
    return True


def _this_process() -> Holder:
    return Holder(pid=os.getpid(), host=socket.gethostname(), since=utc_now(), command=" ".join(sys.argv))


def _held(home: Path) -> HeldError:
    found = holder(home)
    who = (
        f"process {found.pid} on {found.host} since {iso(found.since)}"
        if found
        else "a process that just left"
    )
    return HeldError(
        f"{home}: held by {who}",
        hint="stop it, use the commands that work beside it, or choose another --home",
    )


def _close_after_fork(lock: HomeLock) -> None:
    reference = weakref.ref(lock)

    def forget() -> None:
        held = reference()
        if held is not None:
            held.forget()

    os.register_at_fork(after_in_child=forget)
