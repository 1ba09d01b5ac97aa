"""Stage checkpoints: copy at once, write while training goes on.

Copying weights and moments into host memory is all that holds a step up. One write goes on at a
time; a second one waits for the first. The bytes are the same as those of a write in place.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from realm.models.adapters import state_to_save
from realm.training.state import moments


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
        self._thread = threading.Thread(target=self._run, args=(write,), name="checkpoint")
        self._thread.start()

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
