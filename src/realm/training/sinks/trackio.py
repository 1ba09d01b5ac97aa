"""Trackio, a local tracker on SQLite, under `<folder>/trackio` unless `TRACKIO_DIR` says otherwise."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from realm.core.config import Config as BaseConfig
from realm.core.records import Name
from realm.training.sink import Measured, Outcome, TrackedRun, require_extra

if TYPE_CHECKING:
    from trackio.run import Run


class Trackio:
    """Log to a local Trackio project; show it with `TRACKIO_DIR=<folder>/trackio trackio show`."""

    class Config(BaseConfig):
        """Where runs are filed."""

        kind: Literal["trackio"] = "trackio"
        project: Name = "realm"
        """The project that runs are filed under."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self._run: Run | None = None

    def require(self) -> None:
        """Raise MissingExtraError unless Trackio is installed."""
        require_extra("trackio", "trackio")

    def open(self, run: TrackedRun) -> None:
        """Begin or go on with the run of this name."""
        self.require()
        # Read once, when the library is first imported.
        os.environ.setdefault("TRACKIO_DIR", str(Path(run.folder) / "trackio"))
        import trackio
        import trackio.run
        import trackio.utils

        for module in (trackio, trackio.run, trackio.utils):
            # It prints greetings, and the process's standard output belongs to whoever started it.
            vars(module)["print"] = _say_nothing
        self._run = trackio.init(
            self.config.project,
            name=run.id,
            group=run.group or None,
            config=run.settings,
            resume="allow",
            embed=False,
            auto_log_gpu=False,
            auto_log_cpu=False,
        )

    def write(self, measured: Sequence[Measured]) -> None:
        """Log one entry a step."""
        assert self._run is not None
        for item in measured:
            self._run.log(item.figures, step=item.step)

    def close(self, outcome: Outcome) -> None:
        """Wait until everything lies in the database."""
        assert self._run is not None
        self._run.finish()


def _say_nothing(*words: object, **how: object) -> None:
    """Stand in for `print`."""
