"""Figures as lines of JSON: `<folder>/<run>.figures.jsonl`, one figure a line."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from realm.core.config import Config as BaseConfig
from realm.core.records import Record
from realm.training.sink import Measured, Outcome, TrackedRun


class Figure(Record):
    """One line of the file."""

    step: int
    name: str
    value: float | None
    """None where it is no finite number."""
    at: str


class Jsonl:
    """Append figures to a file; of a step that was taken twice the later lines hold."""

    class Config(BaseConfig):
        """Nothing has to be set: figures go to `.realm/tracking/RUN.figures.jsonl`, one a line."""

        kind: Literal["jsonl"] = "jsonl"

    def __init__(self, config: Config) -> None:
        self._file: io.FileIO | None = None

    def require(self) -> None:
        """Nothing has to be installed."""

    def open(self, run: TrackedRun) -> None:
        """Open the run's file for appending; a line that a crash left torn is closed first."""
        folder = Path(run.folder)
        folder.mkdir(parents=True, exist_ok=True)
        self._file = (folder / f"{run.run}.figures.jsonl").open("a+b", buffering=0)
        if self._file.seek(0, os.SEEK_END):
            self._file.seek(-1, os.SEEK_END)
            if self._file.read(1) != b"\n":
                self._file.write(b"\n")

    def write(self, measured: Sequence[Measured]) -> None:
        """Append one line a figure."""
        assert self._file is not None
        lines = [
            Figure(step=item.step, name=name, value=value, at=item.at).model_dump_json() + "\n"
            for item in measured
            for name, value in item.figures.items()
        ]
        rest = memoryview("".join(lines).encode())
        while rest:
            rest = rest[self._file.write(rest) :]

    def close(self, outcome: Outcome) -> None:
        """Close the file."""
        assert self._file is not None
        self._file.close()
