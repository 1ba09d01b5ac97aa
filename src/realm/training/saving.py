"""Stage checkpoints: copy at once, write while training goes on, keep the last regular one to go back to.

Only what is saved every so many steps is kept: what a stop or a person has had saved between is left out,
so that a run that was stopped goes back to where an undisturbed one does. What is kept is a spare, a second
name for the stage's files, or a copy on a filesystem without hard links: a run whose spare was removed is
as sound as before, until it has to go back.

Copying weights and moments into host memory is all that holds a step up. One write goes on at a
time; a second one waits for the first. The bytes are the same as those of a write in place.
"""

from __future__ import annotations

import logging
import os
import secrets
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from realm.core.errors import StorageError
from realm.core.events import CheckpointStaged, Emit
from realm.models import files
from realm.models.adapters import BASE, Base, state_to_save
from realm.storage.durable import explained, fsync_dir, fsync_file
from realm.training.job import TrainJob
from realm.training.state import (
    PROGRESS,
    Progress,
    moments,
    read_progress,
    write_moments,
    write_progress,
)
from realm.training.trainee import Trainee

log = logging.getLogger(__name__)

KEPT = "-kept-"
"""In the name of a folder that is kept to go back to."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Whole weights and moments at one step, in host memory."""

    weights: dict[str, torch.Tensor]
    """By the names of the model's state; of an adapter only its own."""
    moments: dict[str, torch.Tensor]
    """By `<moment>/<parameter>`."""


def capture(model: Any, optimizer: torch.optim.Optimizer) -> Snapshot:
    """Copy what is trained of a model, or all of it, and the optimizer's moments."""
    return Snapshot(
        weights={name: _copy(value) for name, value in state_to_save(model).items()},
        moments={name: _copy(value) for name, value in moments(optimizer, model).items()},
    )


def _copy(value: torch.Tensor) -> torch.Tensor:
    return value.detach().to("cpu", copy=True)


class Writer:
    """Runs one piece of writing at a time, here or in a thread of its own."""

    def __init__(self, *, asynchronous: bool) -> None:
        self._asynchronous = asynchronous
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None

    def submit(self, write: Callable[[], None]) -> None:
        """Write, after what is still being written. Raises what an earlier write raised."""
        self.wait()
        if not self._asynchronous:
            write()
            return
        thread = threading.Thread(target=self._run, args=(write,), name="checkpoint")
        thread.start()  # may be refused; then there is nothing to wait for
        self._thread = thread

    def wait(self) -> None:
        """Wait until everything is written. Raises what the write raised."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        if self._error is not None:
            error, self._error = self._error, None
            raise error

    def _run(self, write: Callable[[], None]) -> None:
        try:
            write()
        except BaseException as error:  # noqa: BLE001 - handed over to the thread that waits
            self._error = error


class Stages:
    """The checkpoints that one process stages, and the last good state."""

    def __init__(self, job: TrainJob, good: Path, emit: Emit, *, writes: bool) -> None:
        self.good = good
        """Folder of the last state that was saved regularly."""
        found = read_progress(good)
        self.step = found.step if found and found.run == job.run else 0
        """The run's step in `good`; known to the process that writes."""
        self._job = job
        self._emit = emit
        self._writes = writes
        self._writer = Writer(asynchronous=job.recipe.rules.saving.asynchronous)

    def put(
        self,
        trainee: Trainee,
        base: Base | None,
        snapshot: Snapshot,
        progress: Progress,
        stats: dict[str, float],
        *,
        final: bool,
    ) -> None:
        """Stage a snapshot and tell of it when it is flushed. Raises what an earlier write raised."""
        run, step = self._job.run, progress.step
        staged = CheckpointStaged(
            run=run,
            stage=str(Path(self._job.stages) / f"{run}-{step}-{secrets.token_hex(4)}"),
            step=step,
            hero_step=progress.hero_step,
            stats=stats,
            final=final,
        )

        def write() -> None:
            stage = Path(staged.stage)
            with _still_there(stage):
                self._write(stage, trainee, base, snapshot, progress, final=final)
                if step % self._job.recipe.rules.saving.every_steps == 0:
                    self._keep(stage, step)
            self._emit(staged)

        self._writer.submit(write)

    def flush(self) -> None:
        """Wait until everything is written. Raises what the write raised."""
        self._writer.wait()

    def forget(self) -> None:
        """Remove what was kept to go back to; a published or a start folder is left alone."""
        self._writer.wait()
        self._remove()

    def _remove(self) -> None:
        if not self._writes or KEPT not in self.good.name:
            return
        try:
            shutil.rmtree(self.good)
        except FileNotFoundError:
            log.warning("%s, kept to go back to, was removed from outside; nothing else is harmed", self.good)
        except OSError as error:
            log.warning("%s is of no more use and cannot be removed: %s", self.good, error.strerror)

    def _write(
        self,
        stage: Path,
        trainee: Trainee,
        base: Base | None,
        snapshot: Snapshot,
        progress: Progress,
        *,
        final: bool,
    ) -> None:
        """Write all files of a checkpoint and flush them. Raises StorageError."""
        with explained(stage):
            stage.mkdir(parents=True)
            try:
                files.save(trainee.model, trainee.tokenizer, stage, base=base, weights=snapshot.weights)
                write_moments(snapshot.moments, stage)
            except SafetensorError as error:
                raise StorageError(
                    f"{stage}: {error}", hint="free some space; nothing that was saved before is harmed"
                ) from error
            write_progress(progress, stage)
            if final and self._job.recipe.rules.saving.merge and (stage / BASE).is_file():
                self._merge(stage)
        for path in sorted(stage.iterdir()):
            fsync_file(path)
        fsync_dir(stage)

    def _merge(self, stage: Path) -> None:
        """Put the whole model, as an engine without adapters serves it, in an adapter's place."""
        loaded = files.load(stage, vault=Path(self._job.start).parent)
        for path in stage.iterdir():
            if path.name != PROGRESS:
                path.unlink()
        files.save(loaded.model, loaded.tokenizer, stage)

    def _keep(self, stage: Path, step: int) -> None:
        """Give a stage a second name: its supervisor takes the first one away. Raises StorageError."""
        kept = Path(self._job.stages) / f"{self._job.run}{KEPT}{secrets.token_hex(4)}"
        with explained(kept):
            try:
                kept.mkdir()
                for path in stage.iterdir():
                    _link(path, kept / path.name)
            except OSError:
                shutil.rmtree(kept, ignore_errors=True)
                raise
        self._remove()
        self.good, self.step = kept, step


@contextmanager
def _still_there(stage: Path) -> Iterator[None]:
    """Raise StorageError where a stage is removed while it is written."""
    try:
        yield
    except FileNotFoundError as error:
        raise StorageError(
            f"{stage} was removed while it was written",
            hint="try again, and leave stages alone while a run goes on; nothing saved before is harmed",
        ) from error


def _link(path: Path, name: Path) -> None:
    """Give a file a second name, or copy it where its filesystem refuses; a full one refuses both."""
    try:
        os.link(path, name)
    except OSError:
        shutil.copyfile(path, name)
