"""Take files out of the inbox: validate, register, queue; or refuse and quarantine."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from realm.core.errors import DataError, RealmError
from realm.core.events import FileRefused
from realm.core.text import printable
from realm.corpus.dataset import DatasetInfo
from realm.corpus.files.inbox import Inbox
from realm.corpus.files.sidecar import sidecar_of
from realm.corpus.intake import normalise
from realm.flows.context import Lab
from realm.flows.datasets import publish_dataset
from realm.flows.runs import FILE, queue_run
from realm.jobs.queue import Job
from realm.ledger.records import DatasetRecord


def add_file(lab: Lab, path: Path) -> Job:
    """Register a file where it lies and queue a run on it. Raises DataError; moves nothing."""
    dataset = register_file(lab, path)
    return queue_run(lab, dataset, title=printable(path.name), source=FILE)


def register_file(lab: Lab, path: Path) -> DatasetRecord:
    """Validate a file and publish it as a dataset. Raises DataError; the file stays where it is."""
    return publish_dataset(lab, _writer(path), source=f"inbox:{printable(path.name)}")


def take_file(lab: Lab, path: Path) -> Job:
    """Validate one file, publish it as a dataset and queue a run on it, then remove the file.

    The file goes only after its run is queued, so a crash in between takes it again: the same
    bytes give the same dataset and no second run. Raises DataError for a bad file, after
    moving it, with its sidecar, to the quarantine; nothing else is touched.
    """
    seen = _identity(path)
    try:
        job = add_file(lab, path)
    except DataError as error:
        moved = lab.store.quarantine(path, str(error))
        if sidecar_of(path).is_file():
            lab.store.quarantine(sidecar_of(path), str(error))
        lab.emit(FileRefused(file=error.file, line=error.line, reason=error.reason, quarantine=str(moved)))
        raise DataError(
            error.reason,
            file=error.file,
            line=error.line,
            hint=f"the file is kept in {moved}; mend it and drop it again",
        ) from None
    if _identity(path) == seen:  # else it was replaced meanwhile, and is taken next
        path.unlink()
        sidecar_of(path).unlink(missing_ok=True)
    return job


def _identity(path: Path) -> tuple[int, int, int]:
    found = path.lstat()
    return found.st_ino, found.st_size, found.st_mtime_ns


def _writer(path: Path) -> Callable[[Path], DatasetInfo]:
    def write(stage: Path) -> DatasetInfo:
        return normalise(path, stage, name=printable(path.name), source=f"inbox:{printable(path.name)}")

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
