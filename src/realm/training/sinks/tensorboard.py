"""TensorBoard event files under `<folder>/tensorboard/<run>`; neither torch nor TensorFlow is needed."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from realm.core.config import Config as BaseConfig
from realm.core.records import Seconds
from realm.training.sink import Measured, Outcome, TrackedRun, require_extra

if TYPE_CHECKING:
    from tensorboard.summary.writer.event_file_writer import EventFileWriter


class TensorBoard:
    """Write scalars; show them with `tensorboard --logdir <folder>/tensorboard`."""

    class Config(BaseConfig):
        """How soon figures are to be seen."""

        kind: Literal["tensorboard"] = "tensorboard"
        flush_s: Seconds = 10.0
        """Figures lie on the disk this much later at most, seconds."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self._writer: EventFileWriter | None = None

    def require(self) -> None:
        """Raise MissingExtraError unless TensorBoard is installed."""
        require_extra("tensorboard", "tensorboard")

    def open(self, run: TrackedRun) -> None:
        """Begin a file; figures of earlier ones beyond the run's step are no longer shown."""
        self.require()
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        folder = Path(run.folder) / "tensorboard" / run.run
        # Readers take files in the order of their names: the moment in seconds comes first there,
        # and two openings within one second are told apart by how many files there are.
        number = len(list(folder.glob("events.out.tfevents.*"))) if folder.exists() else 0
        self._writer = EventFileWriter(
            str(folder), flush_secs=self.config.flush_s, filename_suffix=f".{number:06d}"
        )
        began = SessionLog(status=SessionLog.START)
        self._writer.add_event(Event(wall_time=time.time(), step=run.step + 1, session_log=began))

    def write(self, measured: Sequence[Measured]) -> None:
        """Add one event a step."""
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary

        assert self._writer is not None
        for item in measured:
            values = [Summary.Value(tag=name, simple_value=value) for name, value in item.figures.items()]
            moment = datetime.fromisoformat(item.at).timestamp() if item.at else time.time()
            self._writer.add_event(Event(wall_time=moment, step=item.step, summary=Summary(value=values)))

    def close(self, outcome: Outcome) -> None:
        """Write what is left and close the file."""
        assert self._writer is not None
        self._writer.close()
