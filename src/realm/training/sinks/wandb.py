"""Weights & Biases: offline files, or online with `WANDB_API_KEY` of the environment.

Files lie under `<folder>/wandb/<run>-<step>`, and `wandb sync <folder>/wandb/*/wandb/offline-run-*` sends
them later. Only figures and the run's settings are handed over: no code, no machine facts, no console output.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from realm.core.config import Config as BaseConfig
from realm.core.records import Name
from realm.training.sink import Measured, Outcome, TrackedRun, require_extra

if TYPE_CHECKING:
    from wandb import Run

_EXIT: dict[Outcome, int] = {"finished": 0, "interrupted": 255, "failed": 1}


class WeightsAndBiases:
    """Log to the W&B run that has the run's id."""

    class Config(BaseConfig):
        """Where runs are filed."""

        kind: Literal["wandb"] = "wandb"
        project: Name = "realm"
        """The project that runs are filed under."""
        entity: Name | None = None
        """The account or team; none means the key's own."""
        mode: Literal["offline", "online"] = "offline"
        """Offline files are sent later with `wandb sync`."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self._run: Run | None = None

    def require(self) -> None:
        """Raise MissingExtraError unless W&B is installed."""
        require_extra("wandb", "wandb")

    def open(self, run: TrackedRun) -> None:
        """Begin or go on with the run of this id."""
        self.require()
        # Reports of its own crashes would go out even from a machine that works offline.
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        import wandb

        # Its own folders are told apart by the second alone, and one hides the other.
        folder = Path(run.folder) / "wandb" / f"{run.run}-{run.step}"
        folder.mkdir(parents=True, exist_ok=True)
        self._run = wandb.init(
            project=self.config.project,
            entity=self.config.entity,
            id=run.id,
            name=run.run,
            group=run.group or None,
            config=dict(run.settings),
            dir=str(folder),
            mode=self.config.mode,
            resume="allow",
            reinit="create_new",
            settings=wandb.Settings(
                console="off",
                silent=True,
                disable_code=True,
                disable_git=True,
                disable_job_creation=True,
                x_disable_machine_info=True,
                x_disable_meta=True,
                x_disable_stats=True,
                x_save_requirements=False,
            ),
        )
        # Its own step only ever grows; a run that goes on from its last checkpoint steps back.
        self._run.define_metric("*", step_metric="step")

    def write(self, measured: Sequence[Measured]) -> None:
        """Log one entry a step."""
        assert self._run is not None
        for item in measured:
            self._run.log({"step": item.step, **item.figures})

    def close(self, outcome: Outcome) -> None:
        """Hand over what is left and how the run ended; the library's service writes it on its own time."""
        assert self._run is not None
        self._run.finish(exit_code=_EXIT[outcome])
