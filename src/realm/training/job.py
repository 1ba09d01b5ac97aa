"""The spec of one training child: which run, from which checkpoint, on which rows, by which rules."""

from __future__ import annotations

from realm.core.config import Config
from realm.core.records import Name
from realm.training.recipe import Recipe


class TrainJob(Config):
    """Everything a training child is told; written as JSON."""

    run: Name
    seed: int
    """Decides the order of the rows and everything else that is drawn."""
    start: str
    """Folder of the verified checkpoint to begin from, or to go on from after an interruption."""
    rows: str
    """File of core `Example` records, one JSON line each."""
    recipe: Recipe
    stages: str
    """Folder under which the child creates its stage directories."""
    events: str
    """File the child appends its events to."""
