"""The training child: a spec file in, events out, an exit code at the end.

It is forked from a process that has imported `PRELOAD`, or started cold. SIGTERM means "save and
leave"; the death of its parent is the launcher's business.
"""

from __future__ import annotations

import signal
import sys
import traceback
from pathlib import Path
from types import FrameType

from realm.core.errors import RealmError
from realm.core.events import Failed
from realm.jobs.tail import EventLog
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
    "realm.models.engines.transformers",
    "realm.training.engine",
    "realm.training.methods.supervised",
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
    log = EventLog(Path(job.events))
    try:
        _train(job, log, stop)
    except RealmError as error:
        log.emit(Failed(run=job.run, error=type(error).__name__, what=error.what, hint=error.hint))
        return 1
    except Exception as error:  # noqa: BLE001 - the edge of a job step
        traceback.print_exc()
        log.emit(Failed(run=job.run, error=type(error).__name__, what=str(error)))
        return 1
    finally:
        log.close()
        sys.stdout.flush()
        sys.stderr.flush()
    return 0


def _train(job: TrainJob, log: EventLog, stop: StopFlag) -> None:
    import torch

    from realm.training.engine import train

    torch.set_num_threads(job.recipe.threads)
    train(job, log.emit, stop)
