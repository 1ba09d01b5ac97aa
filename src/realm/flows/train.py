"""`realm train`: one run on one dataset, planned and queued."""

from __future__ import annotations

from pathlib import Path

from realm.core.text import printable
from realm.flows.config import load_recipe
from realm.flows.context import Lab
from realm.flows.estimate import refuse_missing_gpus
from realm.flows.intake import register_file
from realm.flows.plan import find_dataset
from realm.flows.runs import queue_training
from realm.jobs.queue import Job


def plan_training(lab: Lab, rows: str, *, recipe: str | None = None, migrate: bool = False) -> Job:
    """Queue a run on a file, or on a dataset by its name or hash, with high priority.

    `recipe` is a name or a YAML file; without one the hero's recipe for files is taken. Raises RefusedError
    for more ranks on GPUs than this machine has.
    """
    resolved = load_recipe(lab.home, recipe or lab.hero.file_recipe)
    refuse_missing_gpus(resolved.recipe)
    path = Path(rows)
    dataset = register_file(lab, path) if path.is_file() else find_dataset(lab, rows)
    return queue_training(lab, dataset, resolved, title=printable(dataset.name), migrate=migrate)
