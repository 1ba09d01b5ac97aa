"""What the training process looks at beside training: memory, layers, previews.

Nothing of it touches weights, gradients or random state: a run that is watched ends with the bytes
of one that is not. Not covered: layers and previews of a model that is spread over processes.
"""

from __future__ import annotations

import resource
import sys

import torch
from torch.distributed.tensor import DTensor

from realm.core.events import Emit, LayersMeasured, PreviewWritten, StepTaken
from realm.core.seeds import seed as seed_of
from realm.models.adapters import text_config
from realm.training.job import TrainJob
from realm.training.layers import Layers
from realm.training.previews import preview, refuse_long
from realm.training.trainee import Trainee
from realm.training.unpacked import as_loaded


class Watcher:
    """Looks at one run and tells what it sees."""

    def __init__(self, job: TrainJob, emit: Emit) -> None:
        self._job = job
        self._watch = job.recipe.rules.watch
        self._emit = emit
        self._layers: Layers | None = None
        self._whole = True

    def begin(self, trainee: Trainee) -> None:
        """Get ready. Raises ConfigError for a prompt that leaves no room for an answer."""
        context = text_config(trainee.model).max_position_embeddings
        refuse_long(self._watch.previews, trainee.tokenizer, context)
        self._whole = not any(isinstance(p, DTensor) for p in trainee.model.parameters())
        if self._watch.layers_every_steps and self._whole:
            self._layers = Layers(trainee.model, trainee.origin)

    def before_update(self, taken: StepTaken) -> None:
        """Measure the layers while a step's gradients are there, where it is due."""
        if self._layers is None or taken.step % (self._watch.layers_every_steps or 1):
            return
        clip = self._job.recipe.rules.clip_norm
        scale = min(1.0, clip / taken.gradient_norm) if clip and taken.gradient_norm else 1.0
        norms, gradients, drift = self._layers.measure(scale)
        self._emit(
            LayersMeasured(run=taken.run, step=taken.step, norms=norms, gradients=gradients, drift=drift)
        )

    def after_update(self, trainee: Trainee, taken: StepTaken) -> None:
        """Let the model answer the fixed prompts, where it is due."""
        previews = self._watch.previews
        if not previews.due(taken.step) or not self._whole:
            return
        with as_loaded(trainee.model):
            samples, source = preview(
                trainee.model, trainee.tokenizer, previews, seed_of("previews", self._job.seed)
            )
        self._emit(PreviewWritten(run=taken.run, step=taken.step, samples=samples, source=source))


def peak_memory() -> int:
    """Return the most bytes held so far, on the GPU where there is one, else by the process."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
