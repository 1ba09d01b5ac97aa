"""The spec of one training run: from which checkpoint, on which rows, by which rules."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from realm.core.config import Config
from realm.core.records import Name, Sha256
from realm.training.recipe import Recipe


class RowsFile(Config):
    """Rows to draw from."""

    path: str
    """File of core `Example` records, one JSON line each."""
    name: str = ""
    """The dataset's name, for the account of what was drawn."""
    weight: Annotated[float, Field(gt=0)] = 1.0
    """How often its rows are drawn, relative to its size; equal weights draw every row once an epoch."""


class TrainJob(Config):
    """Everything a training process is told; written as JSON, the same for every launcher."""

    run: Name
    seed: int
    """Decides the order of the rows and everything else that is drawn."""
    start: str
    """Folder of the verified checkpoint to begin from, or to go on from after an interruption."""
    back: str | None = None
    """Folder of the verified checkpoint to go back to while no other is saved; none means `start`."""
    origin: str
    """Folder of the checkpoint that the run began from; `start` unless it was interrupted."""
    base: Sha256 | None = None
    """Content hash of the checkpoint that an adapter belongs to."""
    rows: Annotated[tuple[RowsFile, ...], Field(min_length=1)]
    validation: tuple[RowsFile, ...] = ()
    """Sets that are measured and never trained on."""
    recipe: Recipe
    tokens_at_once: Annotated[int, Field(ge=2)] | None = None
    """A smaller pack than the recipe's, after memory ran out; the step's gradient stays the same."""
    stages: str
    """Folder under which the process creates its stage directories."""
    events: str
    """File the process appends its events to."""
    save_now: str | None = None
    """File that asks for a checkpoint after the present step by being there; none listens to nobody."""
    cache: str | None = None
    """Folder for encoded rows, named by their content; none encodes them anew."""
