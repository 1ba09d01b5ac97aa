"""The zygote: imports heavy modules once, then forks a child for every request.

`python -m realm.jobs.zygote PARENT MODULE...` reads requests from stdin and answers on stdout,
one JSON value a line. It stays single-threaded and only imports, so a fork copies no lock that
somebody holds and no device that somebody opened. It ends, and all its children with it, when
its parent ends, when stdin closes or when SIGTERM comes.

in:  {"launch": 1, "entry": "package.module:function", "spec": "/path", "log": "/path"}
out: {"ready": true} · {"failed": "why a module could not be imported"}
     {"launched": 1, "pid": 42} · {"refused": 1, "why": "…"} · {"exited": 42, "code": 0}
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import select
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

from realm.jobs import entry, lifeline

_READ_BYTES = 1 << 16
_WHY_CHARS = 1000
"""An answer below 4 KiB is written whole or not at all."""
_HANDLED = (signal.SIGCHLD, signal.SIGINT, signal.SIGTERM)


class Zygote:
    """Answer requests until stdin closes."""

    def __init__(self, requests: int, answers: int) -> None:
        self._requests = requests
        self._answers = answers
        self._children: set[int] = set()
        self._buffer = b""
        self._bell = os.pipe()
        """Rings when a child has ended: the reading and the writing end."""
        for end in self._bell:
            os.set_blocking(end, False)
        signal.set_wakeup_fd(self._bell[1], warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, lambda *_: self._leave())

    def prepare(self, modules: Sequence[str]) -> None:
        """Import the modules that children will need, and report how that went."""
        gc.disable()  # imports make much and drop little: looking for it takes a quarter of the time
        try:
            for module in modules:
                importlib.import_module(module)
        # The edge of this process: a broken module is the parent's to report.
        except Exception as error:  # noqa: BLE001
            self._tell({"failed": f"{type(error).__name__}: {error}"[:_WHY_CHARS]})
            self._leave()
        sys.stdout.flush()
        sys.stderr.flush()
        gc.collect()
        gc.freeze()
        gc.enable()
        self._tell({"ready": True})

    def serve(self) -> NoReturn:
        """Fork children and report their ends, until stdin closes."""
        while True:
            readable, _, _ = select.select([self._requests, self._bell[0]], [], [])
            if self._bell[0] in readable:
                with suppress(BlockingIOError):
                    os.read(self._bell[0], _READ_BYTES)
            self._reap()
            if self._requests in readable:
                self._read()

    def _read(self) -> None:
        data = os.read(self._requests, _READ_BYTES)
        if not data:
            self._leave()
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        for line in lines:
            self._launch(json.loads(line))

    def _launch(self, request: dict[str, Any]) -> None:
        try:
            pid = self._fork(request)
        except OSError as error:
            self._tell({"refused": request["launch"], "why": str(error)})
            return
        self._children.add(pid)
        self._tell({"launched": request["launch"], "pid": pid})

    def _fork(self, request: dict[str, Any]) -> int:
        log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        parent = os.getpid()
        # Held back: a SIGTERM that met our handler inside the new child would end its siblings.
        signal.pthread_sigmask(signal.SIG_BLOCK, _HANDLED)
        try:
            pid = os.fork()
            if pid == 0:
                self._become_child(parent, request, log)
            return pid
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _HANDLED)
            os.close(log)

    def _become_child(self, parent: int, request: dict[str, Any], log: int) -> NoReturn:
        try:
            os.setsid()
            signal.set_wakeup_fd(-1)
            for number in _HANDLED:
                signal.signal(number, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _HANDLED)
            lifeline.die_with(parent)
            os.dup2(log, 1)
            os.dup2(log, 2)
            for descriptor in (log, self._requests, self._answers, *self._bell):
                os.close(descriptor)
            entry.run(request["entry"], Path(request["spec"]))
        finally:
            os._exit(entry.CRASHED)

    def _reap(self) -> None:
        while self._children:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            lifeline.end_group(pid)
            self._children.discard(pid)
            self._tell({"exited": pid, "code": os.waitstatus_to_exitcode(status)})

    def _leave(self) -> NoReturn:
        for pid in self._children:
            lifeline.end_group(pid)
        os._exit(0)

    def _tell(self, answer: dict[str, Any]) -> None:
        try:
            os.write(self._answers, json.dumps(answer).encode() + b"\n")
        except BrokenPipeError:
            self._leave()


def main(arguments: Sequence[str]) -> NoReturn:
    """Take stdin and stdout for the protocol, so that no imported module can write into it."""
    requests, answers = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    os.close(nothing)
    zygote = Zygote(requests, answers)
    lifeline.die_with(int(arguments[0]), signal.SIGTERM)
    zygote.prepare(arguments[1:])
    zygote.serve()


if __name__ == "__main__":
    main(sys.argv[1:])
