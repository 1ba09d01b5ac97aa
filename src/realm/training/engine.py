"""Train one run to its end or to a stop, from its last good state again where its weights break.

On the CPU a run that is stopped or killed at any step and gone on with from its last stage ends
with the very bytes of an undisturbed one: the data order is a function of (seed, epoch), every
step seeds what it draws, and a stage holds weights, moments and position exactly. That holds where it goes
back, too: always to a regular save, never to what a stop left. On a GPU it goes on the same way, but not bit
by bit.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import torch

from realm.core.errors import DivergedError, NotFoundError, OutOfMemoryError
from realm.core.events import Emit, RunFinished, RunInterrupted
from realm.training.job import TrainJob
from realm.training.loading import device_of
from realm.training.trainer import Back, Trainer
from realm.training.world import Alone, World


def train(job: TrainJob, emit: Emit, stop: Callable[[], bool], world: World | None = None) -> None:
    """Carry a run from its start checkpoint to its end, or to the step at which `stop` says so.

    Raises MaskingError before the first step, DivergedError when going back does not help, and
    OutOfMemoryError.
    """
    began = time.monotonic()
    try:
        _carry(job, emit, stop, world or Alone(device_of(job.recipe.rules.device)), began)
    except (MemoryError, torch.OutOfMemoryError) as error:
        raise _out_of_memory(job, error) from error
    except RuntimeError as error:
        if "can't allocate memory" not in str(error):  # what torch says on the CPU
            raise
        raise _out_of_memory(job, error) from error


def _carry(job: TrainJob, emit: Emit, stop: Callable[[], bool], world: World, began: float) -> None:
    """Train, from the last good state again whenever the weights turn out to be broken."""
    back: Back | None = Back(Path(job.start))
    while back is not None:
        back = _attempt(job, emit, stop, world, began, back)


def _attempt(
    job: TrainJob, emit: Emit, stop: Callable[[], bool], world: World, began: float, begin: Back
) -> Back | None:
    """Train to the end or to a stop; return where to go back to if the weights broke."""
    trainer = _loaded(job, emit, world, begin)
    try:
        trainer.prepare()
        trainer.run(stop)
        trainer.flush()
    except BaseException:
        trainer.forget()
        raise
    if trainer.broken is not None:
        return Back(Path(world.said(str(trainer.good))), trainer.progress, trainer.broken)
    trainer.forget()
    step, seconds = trainer.progress.step, time.monotonic() - began
    if trainer.stopped:
        trainer.emit(RunInterrupted(run=job.run, step=step))
    else:
        trainer.emit(RunFinished(run=job.run, step=step, seconds=seconds))
    return None


def _loaded(job: TrainJob, emit: Emit, world: World, begin: Back) -> Trainer:
    """Load what to train. Raises DivergedError with its cause where what a run goes back to is gone."""
    try:
        return Trainer(job, emit, world, begin)
    except NotFoundError as error:
        if begin.after is None:
            raise
        raise DivergedError(
            f"run {job.run}: at step {begin.after.step + 1} {begin.cause}; "
            f"what it would go back to is gone: {error.what}",
            hint=f"what it saved is not harmed: `realm queue retry {job.run}` goes on from it",
        ) from error


def _out_of_memory(job: TrainJob, error: BaseException) -> OutOfMemoryError:
    return OutOfMemoryError(
        f"run {job.run}: memory ran out: {str(error).splitlines()[0] if str(error) else 'no details'}",
        hint="`realm estimate` says what would fit; rules.memory.tokens_at_once makes packs smaller",
    )
