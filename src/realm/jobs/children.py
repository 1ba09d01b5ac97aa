"""Supervised children: Python functions in processes of their own, which never outlive us.

A child runs `package.module:function` as `function(spec_path) -> exit code`, leads a session of
its own, sees an allow-listed environment and appends what it prints to a log. If this process
dies, even by kill -9, its children die with it; what they left half done is nobody's, because
only the supervisor publishes. SIGTERM means: save and leave.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from realm.core.errors import UnavailableError
from realm.jobs import lifeline
from realm.jobs.environment import child_environment

T = TypeVar("T")

START_TIMEOUT_S = 120.0
"""Importing torch and transformers on a cold, busy disk takes tens of seconds."""
CLOSE_TIMEOUT_S = 2.0


class Child:
    """A running child process, or how it ended."""

    def __init__(self, pid: int, ended: Future[int]) -> None:
        self.pid = pid
        self._ended = ended

    def poll(self) -> int | None:
        """Return the exit code (negative for a signal), or None while it runs."""
        return self._ended.result() if self._ended.done() else None

    async def wait(self) -> int:
        """Wait for the exit code; cancelling the wait leaves the child alone."""
        return await asyncio.wrap_future(self._ended)

    def terminate(self) -> None:
        """Ask the child to save and leave (SIGTERM)."""
        if not self._ended.done():
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGTERM)

    def kill(self) -> None:
        """End the child and everything in its session at once (SIGKILL)."""
        if self._ended.done():
            return
        lifeline.end_group(self.pid)
        with suppress(ProcessLookupError):
            # A child that was forked this very moment may not lead its session yet.
            os.kill(self.pid, signal.SIGKILL)


class WarmLauncher:
    """Start Python children fast: a zygote has imported the heavy modules and forks a child a request."""

    def __init__(self, preload: Sequence[str]) -> None:
        self._preload = tuple(preload)
        self._lock = threading.Lock()
        self._zygote: _ZygoteLink | None = None
        self._closed = False

    def start(self) -> None:
        """Begin to import in the background; return at once."""
        self._living()

    def launch(self, entry: str, spec: Path, log: Path) -> Child:
        """Fork a child; waits for the imports of a zygote that has just started.

        On an event loop call it through `asyncio.to_thread`. A zygote that died is replaced.
        Raises UnavailableError if a module cannot be imported or no process can be made.
        """
        log.parent.mkdir(parents=True, exist_ok=True)
        request = {"entry": entry, "spec": str(spec.absolute()), "log": str(log.absolute())}
        try:
            return self._living().launch(request)
        except _ZygoteDiedError:
            return self._living().launch(request)

    def close(self) -> None:
        """End the zygote and all its children; who still waits for one is refused."""
        with self._lock:
            self._closed = True
            zygote, self._zygote = self._zygote, None
        if zygote is not None:
            zygote.close()

    def _living(self) -> _ZygoteLink:
        with self._lock:
            if self._closed:
                # A thread that waited for the imports would start a child that nobody supervises.
                raise UnavailableError("no child was started: its launcher was closed")
            if self._zygote is None or not self._zygote.is_alive():
                self._zygote = _ZygoteLink(self._preload)
            return self._zygote


def launch_cold(entry: str, spec: Path, log: Path) -> Child:
    """Start a child in a fresh interpreter; the same contract as `WarmLauncher.launch`."""
    log.parent.mkdir(parents=True, exist_ok=True)
    parent = str(os.getpid())
    arguments = [sys.executable, "-P", "-m", "realm.jobs.childmain", parent, entry, str(spec.absolute())]
    started: Future[Child] = Future()
    threading.Thread(target=_run_cold, args=(arguments, log, started), daemon=True, name="child").start()
    return started.result()


def _run_cold(arguments: list[str], log: Path, started: Future[Child]) -> None:
    """Start a child and wait for it in one thread: the child lives as long as its starting thread."""
    try:
        with open(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab") as output:
            process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
                arguments,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=child_environment(),
                start_new_session=True,
            )
    except OSError as error:
        started.set_exception(UnavailableError(f"no child could be started: {error}"))
        return
    ended = _uncancellable()
    started.set_result(Child(process.pid, ended))
    code = process.wait()
    lifeline.end_group(process.pid)
    ended.set_result(code)


class _ZygoteDiedError(UnavailableError):
    """The zygote died before it answered; a new one can be asked."""


class _ZygoteLink:
    """One life of a zygote: a thread that starts it, reads its answers and buries its children."""

    def __init__(self, preload: Sequence[str]) -> None:
        self._lock = threading.Lock()
        self._ready: Future[None] = Future()
        self._launches: dict[int, Future[Child]] = {}
        self._children: dict[int, Future[int]] = {}
        self._count = 0
        self._gone = False
        self._begun = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._live, args=(preload,), daemon=True, name="zygote")
        self._thread.start()

    def is_alive(self) -> bool:
        """Tell whether this zygote may still answer."""
        return self._thread.is_alive() and not self._gone

    def launch(self, request: dict[str, Any]) -> Child:
        """Ask for a child and wait for it."""
        _within(START_TIMEOUT_S, self._ready)
        answer: Future[Child] = Future()
        with self._lock:
            if self._gone:
                raise _ZygoteDiedError("the zygote died")
            self._count += 1
            number = self._count
            self._launches[number] = answer
            self._write({"launch": number, **request})
        return _within(START_TIMEOUT_S, answer)

    def close(self) -> None:
        """Close its stdin, which makes it end, and wait until it has."""
        self._begun.wait(CLOSE_TIMEOUT_S)
        process = self._process
        if process is not None and process.stdin is not None:
            with suppress(OSError):
                process.stdin.close()
            process.terminate()
        self._thread.join(CLOSE_TIMEOUT_S)

    def _write(self, request: dict[str, Any]) -> None:
        process = self._process
        assert process is not None
        assert process.stdin is not None
        try:
            process.stdin.write(json.dumps(request).encode() + b"\n")
            process.stdin.flush()
        except (OSError, ValueError) as error:
            self._gone = True  # known here before its thread has read to the end
            raise _ZygoteDiedError(f"the zygote is gone: {error}") from None

    # --- in the link's own thread ---------------------------------------------------------

    def _live(self, preload: Sequence[str]) -> None:
        arguments = [sys.executable, "-P", "-m", "realm.jobs.zygote", str(os.getpid()), *preload]
        try:
            self._process = process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
                arguments,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=child_environment(),
                start_new_session=True,
            )
        except OSError as error:
            self._ready.set_exception(UnavailableError(f"no zygote could be started: {error}"))
            return
        finally:
            self._begun.set()
        # What could not be written to a dead one cannot be flushed either.
        with suppress(BrokenPipeError), process:
            assert process.stdout is not None
            for line in process.stdout:
                self._answer(json.loads(line))
            self._bury()

    def _answer(self, answer: dict[str, Any]) -> None:
        match answer:
            case {"ready": True}:
                self._ready.set_result(None)
            case {"failed": why}:
                self._ready.set_exception(UnavailableError(f"the zygote cannot import its modules: {why}"))
            case {"launched": number, "pid": pid}:
                ended = _uncancellable()
                self._children[pid] = ended
                self._launches.pop(number).set_result(Child(pid, ended))
            case {"refused": number, "why": why}:
                self._launches.pop(number).set_exception(UnavailableError(f"no child was started: {why}"))
            case {"exited": pid, "code": code}:
                self._children.pop(pid).set_result(code)

    def _bury(self) -> None:
        """Answer everybody who waits: the zygote is gone, and its children with it."""
        gone = _ZygoteDiedError("the zygote died")
        with self._lock:
            self._gone = True  # first: whoever hears of a child's end may ask for another one at once
            for answer in self._launches.values():
                answer.set_exception(gone)
        if not self._ready.done():
            self._ready.set_exception(gone)
        for pid, ended in self._children.items():
            lifeline.end_group(pid)
            ended.set_result(-signal.SIGKILL)


def _within(timeout_s: float, future: Future[T]) -> T:
    try:
        return future.result(timeout=timeout_s)
    except TimeoutError:
        raise UnavailableError(f"the zygote did not answer within {timeout_s:.0f} s") from None


def _uncancellable() -> Future[int]:
    """Return a future that a cancelled waiter cannot cancel for the others."""
    future: Future[int] = Future()
    future.set_running_or_notify_cancel()
    return future
