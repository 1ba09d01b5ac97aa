"""Turn a dataset into a queued training run, and owed runs back into jobs."""

from __future__ import annotations

from collections.abc import Sequence

from realm.core.errors import StateError
from realm.core.events import JobQueued
from realm.core.hashing import hash_json
from realm.core.records import Priority, Sha256
from realm.flows.config import load_recipe
from realm.flows.context import Lab
from realm.flows.plan import RunPlan, make_plan, planned
from realm.flows.teaching import refuse_served
from realm.jobs.queue import Job
from realm.ledger.records import DatasetRecord, RunRecord
from realm.training.recipe import Resolved

TRAIN = "train"
"""The kind of job that trains one run and evaluates what it saved."""

SPAR = "spar"
"""The kind of job that makes rows of a checkpoint's mistakes."""

MINE = "mine"
"""The kind of job that makes a dataset of the rows that a checkpoint finds hard."""

DRILL = "drill"
FILE = "file"
SPARRING = "sparring"


def queue_run(
    lab: Lab,
    dataset: DatasetRecord,
    *,
    title: str,
    source: str,
    priority: Priority = Priority.NORMAL,
    made_with: Sha256 | None = None,
    beside: Sequence[DatasetRecord] = (),
) -> Job:
    """Plan a run on a dataset and queue its job. The same dataset never gets two runs this way.

    Rows of the datasets `beside` it are trained in the same run.

    The run's row is written first: if the process dies before the job is queued, the next
    start finds a run that is owed a job.
    """
    hero = lab.hero
    own = {DRILL: hero.recipe, SPARRING: hero.sparring_recipe or hero.recipe}
    name = own.get(source, hero.file_recipe)
    run = find_run(lab, dataset.hash)
    if run is None:
        resolved = load_recipe(lab.home, name)
        if source != FILE:
            refuse_served(resolved)
        plan = make_plan(lab, resolved, dataset, source, priority, migrate=False)
        rows = (*plan.rows, *(planned(lab, plan.recipe, each) for each in beside))
        plan = plan.model_copy(update={"made_with": made_with, "rows": rows})
        run = _add(lab, dataset, plan, title)
    return queue_job(lab, run)


def queue_training(
    lab: Lab, dataset: DatasetRecord, recipe: Resolved, *, title: str, migrate: bool = False
) -> Job:
    """Plan another run on a dataset, whatever was trained on it before, and queue its job."""
    plan = make_plan(lab, recipe, dataset, FILE, Priority.HIGH, migrate=migrate)
    return queue_job(lab, _add(lab, dataset, plan, title))


def find_run(lab: Lab, dataset: str) -> RunRecord | None:
    """Return the run of this hero that a dataset was made for."""
    for run in lab.ledger.runs.list():
        if run.dataset == dataset and run.hero == lab.hero_name and run.campaign == lab.campaign:
            return run
    return None


def queue_job(lab: Lab, run: RunRecord) -> Job:
    """Queue the job of a run; a job that is queued already stays as it is."""
    known = {job.id for job in lab.queue.list()}
    job = lab.queue.add(
        run.id, TRAIN, {"run": run.id}, title=run.title, priority=Priority(run.spec["priority"])
    )
    if run.id not in known:
        lab.emit(JobQueued(job=job.id, title=job.title, priority=job.priority.value))
    return job


def requeue_owed(lab: Lab) -> list[str]:
    """Queue a job for every planned run of the campaign that has none. Return the runs."""
    known = {job.id for job in lab.queue.list()}
    owed = [run for run in lab.ledger.runs.open() if run.id not in known and run.campaign == lab.campaign]
    for run in owed:
        queue_job(lab, run)
    return [run.id for run in owed]


def _add(lab: Lab, dataset: DatasetRecord, plan: RunPlan, title: str) -> RunRecord:
    """Add a run under the next free number, also when another process plans one at this moment."""
    spec = plan.model_dump(mode="json")
    record = RunRecord(
        id="run-new",
        campaign=lab.campaign,
        hero=lab.hero_name,
        title=title,
        dataset=dataset.hash,
        spec=spec,
        spec_hash=hash_json(spec),
        created_at=lab.clock(),
    )
    number = len(lab.ledger.runs.list())
    while True:
        number += 1
        try:
            return lab.ledger.runs.add(record.model_copy(update={"id": f"run-{number:04d}"}))
        except StateError:
            continue
