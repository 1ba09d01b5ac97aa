"""Take files out of the inbox: validate, register, queue; or refuse and quarantine."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from realm.core.errors import DataError, RealmError
from realm.core.events import FileRefused
from realm.corpus.inbox import Inbox
from realm.corpus.intake import DatasetInfo, normalise
from realm.flows.context import Lab
from realm.flows.datasets import publish_dataset
from realm.flows.runs import FILE, queue_run
from realm.jobs.queue import Job


def add_file(lab: Lab, path: Path) -> Job:
    """Register a file where it lies and queue a run on it. Raises DataError; moves nothing."""
    dataset = publish_dataset(lab, _writer(path), source=f"inbox:{path.name}")
    return queue_run(lab, dataset, title=path.name, source=FILE)


def take_file(lab: Lab, path: Path) -> Job:
    """Validate one file, publish it as a dataset and queue a run on it, then remove the file.

    The file goes only after its run is queued, so a crash in between takes it again: the same
    bytes give the same dataset and no second run. Raises DataError for a bad file, after
    moving it to the quarantine; nothing else is touched.
    """
    try:
        job = add_file(lab, path)
    except DataError as error:
        moved = lab.store.quarantine(path, str(error))
        lab.emit(FileRefused(file=path.name, line=error.line, reason=error.reason, quarantine=str(moved)))
        raise DataError(
            error.reason,
            file=path.name,
            line=error.line,
            hint=f"the file is kept in {moved}; mend it and drop it again",
        ) from None
    path.unlink()
    return job


def _writer(path: Path) -> Callable[[Path], DatasetInfo]:
    def write(stage: Path) -> DatasetInfo:
        return normalise(path, stage, name=path.name, source=f"inbox:{path.name}")

    return write


def watch_inbox(lab: Lab, stop: Callable[[], bool], on_error: Callable[[RealmError], None]) -> None:
    """Take every file that is dropped until `stop`. One bad file never holds up the next."""
    inbox = Inbox(lab.home.inbox, settle_s=lab.config.worker.settle_s)
    for path in inbox.watch(stop):
        try:
            take_file(lab, path)
        except RealmError as error:
            on_error(error)


def start_watching(
    lab: Lab, stop: Callable[[], bool], on_error: Callable[[RealmError], None]
) -> threading.Thread:
    """Watch the inbox in a thread of its own."""
    thread = threading.Thread(target=watch_inbox, args=(lab, stop, on_error), name="inbox", daemon=True)
    thread.start()
    return thread
