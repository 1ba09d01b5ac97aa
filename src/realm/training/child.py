"""The training child: a spec file in, events out, an exit code at the end.

It is forked from a process that has imported `PRELOAD`, or started cold. SIGTERM means "save and
leave"; the death of its parent is the launcher's business.
"""

from __future__ import annotations

import signal
from pathlib import Path
from types import FrameType

from realm.core.events import Emit
from realm.jobs.edge import run_told
from realm.training.job import TrainJob

PRELOAD = (
    "realm.models",
    "torch",
    "transformers.models.qwen3.modeling_qwen3",
    "transformers.models.auto.modeling_auto",
    "transformers.tokenization_utils_tokenizers",
    "tokenizers",
    "safetensors.torch",
    "jinja2",
    "peft",
    "realm.models.engines.transformers",
    "realm.training.engine",
    "realm.training.methods.supervised",
    "realm.training.optimizers.adamw",
    "realm.training.parameters.full",
    "realm.training.selection",
    "realm.training.child",
)
"""Modules that make a child's start instant; `realm.models` first, since it sets their environment."""


class StopFlag:
    """Remembers that SIGTERM came."""

    def __init__(self) -> None:
        self.raised = False

    def install(self) -> None:
        """Take over SIGTERM in this process."""
        signal.signal(signal.SIGTERM, self._raise)

    def __call__(self) -> bool:
        return self.raised

    def _raise(self, number: int, frame: FrameType | None) -> None:
        self.raised = True


def main(spec_path: Path) -> int:
    """Run the training job of a spec file; return the process's exit code."""
    stop = StopFlag()
    stop.install()
    job = TrainJob.model_validate_json(spec_path.read_bytes())
    return run_told(job.run, Path(job.events), lambda emit: _train(job, emit, stop))


def _train(job: TrainJob, emit: Emit, stop: StopFlag) -> None:
    import torch

    from realm.training.engine import train

    torch.set_num_threads(job.recipe.rules.threads)
    train(job, emit, stop)
