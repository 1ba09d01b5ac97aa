"""`realm train`: one run on one dataset, here and now or in the lab that is up."""

from __future__ import annotations

from pathlib import Path

from realm.core.text import printable
from realm.flows.config import load_recipe
from realm.flows.context import Lab
from realm.flows.intake import register_file
from realm.flows.plan import find_dataset
from realm.flows.reconcile import reconcile
from realm.flows.runs import queue_training
from realm.flows.teaching import with_answers
from realm.flows.worker import held, work
from realm.jobs.queue import Job, JobState

ENDED = (JobState.DONE, JobState.FAILED, JobState.DROPPED, JobState.PAUSED)


def plan_training(lab: Lab, rows: str, *, recipe: str | None = None, migrate: bool = False) -> Job:
    """Queue a run on a file, or on a dataset by its name or hash, with high priority.

    `recipe` is a name or a YAML file; without one the hero's recipe for files is taken.
    """
    path = Path(rows)
    dataset = register_file(lab, path) if path.is_file() else find_dataset(lab, rows)
    resolved = load_recipe(lab.home, recipe or lab.hero.file_recipe)
    dataset = with_answers(lab, resolved.recipe, dataset)
    return queue_training(lab, dataset, resolved, title=printable(dataset.name), migrate=migrate)


def carry_out(lab: Lab, job: str) -> Job:
    """Work the queue in this process until a job has ended. HeldError when the lab is up elsewhere."""
    with held(lab) as launcher:
        reconcile(lab)
        work(lab, launcher, lambda: lab.queue.get(job).state in ENDED, fill=False)
    return lab.queue.get(job)
