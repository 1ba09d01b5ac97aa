"""What is looked at beside training: memory, layers, alerts, previews."""

from __future__ import annotations

import resource
import sys

import torch

from realm.core.events import Emit, StepTaken, ValidationMeasured
from realm.training.job import TrainJob
from realm.training.trainee import Trainee


class Watcher:
    """Looks at a run without touching its weights, gradients or random state."""

    def __init__(self, job: TrainJob, emit: Emit) -> None:
        self._job = job
        self._emit = emit

    def begin(self, trainee: Trainee) -> None:
        """Remember where the run begins."""

    def before_update(self, trainee: Trainee, taken: StepTaken) -> None:
        """Look at the gradients of a step that is about to be taken."""

    def after_update(self, trainee: Trainee, taken: StepTaken) -> None:
        """Look at the weights after a step."""

    def validated(self, event: ValidationMeasured) -> None:
        """Take what validation measured."""

    def with_memory(self, taken: StepTaken) -> StepTaken:
        """Add the highest memory use so far to a step."""
        return taken.model_copy(update={"memory_bytes": peak_memory()})

    def close(self) -> None:
        """End what goes on beside training."""


def peak_memory() -> int:
    """Return the most bytes held so far, on the GPU where there is one, else by the process."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
