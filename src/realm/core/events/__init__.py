"""Typed events: what people watch, and what a child process tells its supervisor.

One event is one JSON line with its `kind`. Training and evaluation children append them to
`events.jsonl` in the run's folder; the lab keeps the ones worth keeping in the ledger.
Live numbers have no other home.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from pydantic import Field, TypeAdapter

from realm.core.events.base import Interval
from realm.core.events.children import (
    AlertRaised,
    AnswersGraded,
    CheckpointStaged,
    Failed,
    Graded,
    LayersMeasured,
    MaskingProven,
    MemoryLowered,
    PreviewWritten,
    RolledBack,
    RowsMeasured,
    RunFinished,
    RunInterrupted,
    RunPredicted,
    RunStarted,
    StepTaken,
    ValidationMeasured,
)
from realm.core.events.lab import (
    Appraised,
    CheckpointSaved,
    CheckpointSetAside,
    CollectionAdded,
    DatasetAdded,
    DriftMeasured,
    Evaluated,
    FileRefused,
    GateDecided,
    JobEnded,
    JobQueued,
    LevelMastered,
    LevelReviewed,
    LevelSet,
    Promoted,
    RegressionFound,
    Sparred,
    TrialAdvanced,
    TrialArm,
    TrialBegun,
    TrialDecided,
)

__all__ = [
    "AlertRaised",
    "AnswersGraded",
    "Appraised",
    "CheckpointSaved",
    "CheckpointSetAside",
    "CheckpointStaged",
    "CollectionAdded",
    "DatasetAdded",
    "DriftMeasured",
    "Emit",
    "Evaluated",
    "Event",
    "Failed",
    "FileRefused",
    "GateDecided",
    "Graded",
    "Interval",
    "JobEnded",
    "JobQueued",
    "LayersMeasured",
    "LevelMastered",
    "LevelReviewed",
    "LevelSet",
    "MaskingProven",
    "MemoryLowered",
    "PreviewWritten",
    "Promoted",
    "RegressionFound",
    "RolledBack",
    "RowsMeasured",
    "RunFinished",
    "RunInterrupted",
    "RunPredicted",
    "RunStarted",
    "Sparred",
    "StepTaken",
    "TrialAdvanced",
    "TrialArm",
    "TrialBegun",
    "TrialDecided",
    "ValidationMeasured",
    "ignore",
    "read",
    "write",
]

Event = Annotated[
    RunStarted
    | MaskingProven
    | StepTaken
    | LayersMeasured
    | ValidationMeasured
    | PreviewWritten
    | AlertRaised
    | RolledBack
    | RunPredicted
    | MemoryLowered
    | CheckpointStaged
    | RunInterrupted
    | RunFinished
    | Failed
    | AnswersGraded
    | RowsMeasured
    | DatasetAdded
    | CollectionAdded
    | FileRefused
    | JobQueued
    | JobEnded
    | CheckpointSaved
    | CheckpointSetAside
    | Evaluated
    | LevelMastered
    | LevelReviewed
    | LevelSet
    | TrialBegun
    | TrialAdvanced
    | TrialDecided
    | Sparred
    | DriftMeasured
    | Appraised
    | RegressionFound
    | GateDecided
    | Promoted,
    Field(discriminator="kind"),
]

Emit = Callable[[Event], None]
"""Takes an event and returns at once."""

_ADAPTER: TypeAdapter[Event] = TypeAdapter(Event)


def write(event: Event) -> str:
    """Write an event as one JSON line, without the line end."""
    return event.model_dump_json()


def read(line: str | bytes) -> Event:
    """Read an event from a JSON line. Raises pydantic's ValidationError."""
    return _ADAPTER.validate_json(line)


def ignore(event: Event) -> None:
    """Take an event and do nothing, where nobody watches."""
