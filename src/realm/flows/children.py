"""Supervise a child process: follow its events, pass on requests, end it when told to.

The child only writes into its own stage folders and its event file. Everything that becomes
true - a published checkpoint, an evaluation, a promotion - is written by the supervisor.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel

from realm.core import errors
from realm.core.errors import ChildDiedError, OutOfMemoryError, RealmError
from realm.core.events import Event, Failed
from realm.flows.context import Lab
from realm.jobs.children import Child, WarmLauncher
from realm.jobs.memory import allocation_limit, how_it_ended, kernel_kills, killed_for_memory, starved
from realm.jobs.queue import Request
from realm.jobs.tail import EventTail
from realm.training import child as training

T = TypeVar("T")

log = logging.getLogger(__name__)

PRELOAD = (*training.PRELOAD, "realm.evaluation.child", "realm.flows.birth")
"""Imported once by the warm launcher, so that a child starts in milliseconds."""
_LAST_BYTES = 16 << 10
"""Of a child's output, what tells how it ended; traces of other ranks may follow."""


def no_request() -> Request:
    """Say that nobody asks for anything."""
    return Request.NONE


def nothing() -> None:
    """Do nothing between two looks at a child."""


async def persist(attempt: Callable[[], Awaitable[T]], progress: Callable[[], object], deaths: int) -> T:
    """Try again when a child is killed, until it dies `deaths` times in a row without progress."""
    died, reached = 0, progress()
    while True:
        try:
            return await attempt()
        except ChildDiedError as error:
            died = died + 1 if progress() == reached else 1
            reached = progress()
            if died >= deaths:
                raise
            log.warning("%s; it is started again (%d of %d)", error.what, died, deaths - 1)


class Supervisor:
    """Starts children of one lab and follows each until its end."""

    def __init__(self, lab: Lab, launcher: WarmLauncher) -> None:
        self.lab = lab
        self.launcher = launcher

    async def follow(
        self,
        entry: str,
        spec: BaseModel,
        run: str,
        *,
        on_event: Callable[[Event], None],
        request: Callable[[], Request] = no_request,
        tick: Callable[[], None] = nothing,
    ) -> None:
        """Run `entry` on a spec until it ends; hand over every event in order.

        A pause or stop request becomes SIGTERM ("save and leave"). Raises what the child
        reported, or ChildDiedError when it died without a word, or when its event file lost what
        it told. When this coroutine is cancelled the child is killed: what it had not saved is
        done again.
        """
        folder = self.lab.home.run(run)
        folder.mkdir(parents=True, exist_ok=True)
        spec_path = folder / f"{entry.split('.')[1]}.json"
        spec_path.write_text(spec.model_dump_json(indent=1), encoding="utf-8")
        events_path = self.lab.home.events(run)
        offset = events_path.stat().st_size if events_path.exists() else 0
        tail = EventTail(events_path, offset)
        log_path = folder / "log.txt"
        begin = log_path.stat().st_size if log_path.exists() else 0
        kills = kernel_kills()
        child = await asyncio.to_thread(self.launcher.launch, entry, spec_path, log_path)
        try:
            code, failure = await self._loop(child, run, tail, on_event, request, tick)
        except BaseException:
            child.kill()
            raise
        if failure is not None or code != 0:
            killed = killed_for_memory(code, kills, kernel_kills())
            raise _ending(run, code, failure, log_path, said=_last_of(log_path, begin), killed=killed)

    async def _loop(
        self,
        child: Child,
        run: str,
        tail: EventTail,
        on_event: Callable[[Event], None],
        request: Callable[[], Request],
        tick: Callable[[], None],
    ) -> tuple[int, Failed | None]:
        worker = self.lab.config.worker
        failure: Failed | None = None
        deadline: float | None = None
        while True:
            code = child.poll()  # before reading, so that the last events are not missed
            told = tail.read()
            if tail.cut:
                raise ChildDiedError(
                    f"{run} was ended: {tail.path} was cut or removed while its process wrote to it",
                    hint=f"leave that file alone; `realm queue retry {run}` goes on from the last checkpoint",
                )
            for event in told:
                if isinstance(event, Failed):
                    failure = event
                on_event(event)
            if code is not None:
                return code, failure
            tick()
            if deadline is None and request() is not Request.NONE:
                child.terminate()
                deadline = time.monotonic() + worker.stop_grace_s
            if deadline is not None and time.monotonic() > deadline:
                child.kill()
            await asyncio.sleep(worker.poll_s)


def _rebuilt(failure: Failed) -> RealmError:
    cls = getattr(errors, failure.error, None)
    if isinstance(cls, type) and issubclass(cls, RealmError) and cls is not errors.DataError:
        return cls(failure.what, hint=failure.hint)
    return RealmError(failure.what if cls else f"{failure.error}: {failure.what}", hint=failure.hint)


def _ending(run: str, code: int, failure: Failed | None, log: Path, *, said: str, killed: bool) -> RealmError:
    """Return why a child failed: what it raised on purpose, want of memory, or its death."""
    raised = None if failure is None else _rebuilt(failure)
    if raised is not None and not isinstance(raised, ChildDiedError):
        return raised
    if killed or starved(code, said):
        how = "was killed by the system" if killed else "ended"
        return OutOfMemoryError(
            f"the process of {run} {how} because memory ran out",
            hint="`realm estimate` says what would fit; rules.memory.tokens_at_once makes packs smaller",
        )
    return raised or _death(run, code, log, said)


def _last_of(log: Path, begin: int) -> str:
    """Return the last of what a child wrote since its log had a size; nothing where it wrote none."""
    if not log.exists():
        return ""
    with log.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(begin, size - _LAST_BYTES))
        return file.read(_LAST_BYTES).decode("utf-8", errors="replace")


def _death(run: str, code: int, log: Path, said: str) -> ChildDiedError:
    how, advice = how_it_ended(code, allocation_limit())
    tail = said.splitlines()[-3:]
    return ChildDiedError(
        f"the process of {run} {how}" + (": " + " | ".join(tail) if tail else ""),
        hint=f"{advice}see {log}; `realm queue retry {run}` goes on from the last checkpoint",
    )
