"""The inbox folder: which files lie there complete, and word of new ones.

A file is complete when its size and times stood still for a while and no process has it open
for writing (asked of the kernel where it can tell: Linux, own files). A writer on another
machine that pauses longer than the settling time is not noticed; such a copy belongs under a
partial name first.
"""

from __future__ import annotations

import fcntl
import os
import signal
import stat
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from realm.corpus.files.sidecar import SIDECAR, sidecar_of

PARTIAL_SUFFIXES = (".part", ".partial", ".tmp", ".crdownload", "~")
POLL_S = 1.0


class _State(NamedTuple):
    """What changes when somebody writes to a file or puts another in its place."""

    inode: int
    size_bytes: int
    modified_ns: int
    changed_ns: int


class _Sighting(NamedTuple):
    """Since when a file has been in a state, by the monotonic clock."""

    state: _State
    since_s: float


class Inbox:
    """Watch one folder for dropped files. The folder is made where it is absent."""

    def __init__(self, folder: Path, settle_s: float = 0.5, retry_s: float = 30.0) -> None:
        """Call a file complete after `settle_s`; offer one that stayed again after `retry_s`."""
        self.folder = folder
        self._settle_s = settle_s
        self._retry_s = retry_s
        self._seen: dict[str, _Sighting] = {}
        self._offered: dict[str, _Sighting] = {}

    def ready(self) -> list[Path]:
        """Return the complete files, oldest first.

        Files of any suffix, so that they can be refused with a reason; no folders, symlinks or
        other special files, no hidden or partial names, no sidecars. A file is complete at the
        earliest `settle_s` after the first call that saw it.
        """
        self._look()
        now = time.monotonic()
        settled = [
            (sighting.state.modified_ns, name)
            for name, sighting in self._seen.items()
            if now - sighting.since_s >= self._settle_s and not name.endswith(SIDECAR)
        ]
        return [path for _, name in sorted(settled) if self._complete(path := self.folder / name, now)]

    def watch(self, stop: Callable[[], bool]) -> Iterator[Path]:
        """Yield complete files as they come, until `stop` says so; it is asked every second.

        A file that the caller left in place is offered again when it changes, or after
        `retry_s`.
        """
        for _ in self._wake_ups(stop):
            for path in self.ready():
                if stop():
                    return
                if self._is_due(path):
                    yield path

    def _look(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        now = time.monotonic()
        seen: dict[str, _Sighting] = {}
        with os.scandir(self.folder) as entries:
            for entry in entries:
                state = None if _is_partial(entry.name) else _state(entry.path)
                if state is not None:
                    before = self._seen.get(entry.name)
                    same = before is not None and before.state == state
                    seen[entry.name] = before if before and same else _Sighting(state, now)
        self._seen = seen
        self._offered = {name: last for name, last in self._offered.items() if name in seen}

    def _complete(self, path: Path, now: float) -> bool:
        beside = self._seen.get(sidecar_of(path).name)
        if beside is not None and now - beside.since_s < self._settle_s:
            return False
        return not _is_being_written(path)

    def _is_due(self, path: Path) -> bool:
        sighting = self._seen.get(path.name)
        if sighting is None:
            return False
        last, now = self._offered.get(path.name), time.monotonic()
        if last is not None and last.state == sighting.state and now - last.since_s < self._retry_s:
            return False
        self._offered[path.name] = _Sighting(sighting.state, now)
        return True

    def _is_settling(self) -> bool:
        now = time.monotonic()
        return any(now - sighting.since_s < self._settle_s for sighting in self._seen.values())

    def _wake_ups(self, stop: Callable[[], bool]) -> Iterator[None]:
        """Return at every change in the folder, every second, and often while a file settles."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with closing(_changes(self.folder)) as changes:
            while not stop():
                yield
                if self._is_settling():
                    time.sleep(min(max(self._settle_s / 4, 0.01), POLL_S))
                elif next(changes, None) is None:
                    # The system has no watch left to give, or the folder went away: poll.
                    time.sleep(POLL_S)


def _changes(folder: Path) -> Generator[bool, None, None]:
    """Return after every change in a folder and at least once a second; end when that fails."""
    try:
        from watchfiles import watch
    except ImportError:
        return
    watching = watch(
        folder,
        watch_filter=None,
        recursive=False,
        debounce=200,
        yield_on_timeout=True,
        rust_timeout=int(POLL_S * 1000),
        raise_interrupt=True,
    )
    try:
        for _ in watching:
            yield True
    except (OSError, RuntimeError):
        return


def _is_partial(name: str) -> bool:
    return name.startswith(".") or name.lower().endswith(PARTIAL_SUFFIXES)


def _state(path: str) -> _State | None:
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(found.st_mode):
        return None
    return _State(found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def _is_being_written(path: Path) -> bool:
    """Ask the kernel whether anybody has a file open for writing, by asking for a read lease.

    Where it cannot be asked (another system, another owner's file), the answer is no.
    """
    if not hasattr(fcntl, "F_SETLEASE"):
        return False
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        # A writer that comes while the lease is held is announced by a signal; the default one kills.
        fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return False
