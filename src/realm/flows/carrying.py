"""Have a queued job carried out: by this process, or by the lab that is up, which is then followed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress

from realm.core.errors import HeldError
from realm.core.events import Event
from realm.flows import control
from realm.flows.context import Lab
from realm.flows.reconcile import reconcile
from realm.flows.runs import TRAIN
from realm.flows.worker import held, work
from realm.jobs.queue import Job, JobState
from realm.jobs.tail import EventTail
from realm.storage.lock import holder

ENDED = (*control.ENDED, JobState.PAUSED)
"""States in which nobody works on a job until somebody asks for it."""


def before(lab: Lab, job: Job) -> list[Job]:
    """Return the jobs that are worked on before this one, the present one first."""
    owed = lab.queue.owed()
    ids = [other.id for other in owed]
    return owed[: ids.index(job.id)] if job.id in ids else []


def carried_out(lab: Lab, job: Job, *, follow: bool = True) -> Job:
    """Carry a queued job out here, or follow the lab that is up, until it has ended.

    What the job tells goes to the lab's watchers either way. Without `follow`, a lab that is up is left
    alone with it. A lab that goes down before it began the job leaves it to this process. Returns the job
    as it is then: still queued where the lab was left alone with it; where it went down meanwhile, queued
    again, or running if it was killed. A KeyboardInterrupt gets a note of what becomes of the job.
    """
    try:
        return _carried_out(lab, job, follow)
    except KeyboardInterrupt as interrupt:
        interrupt.add_note(left(lab, job.id))
        raise


def _carried_out(lab: Lab, job: Job, follow: bool) -> Job:
    while True:
        if holder(lab.home.root) is None:
            with suppress(HeldError):  # somebody else was quicker, and is followed
                return carry_out(lab, job.id)
        if follow:
            for event in _told(lab, job):
                lab.show(event)
        found = lab.queue.get(job.id)
        untouched = found.state is JobState.QUEUED and found.started_at is None
        if not follow or not untouched:
            return found


def left(lab: Lab, job_id: str) -> str:
    """Say where a job stands that this process leaves, and who goes on with it."""
    job = lab.queue.get(job_id)
    if job.state in ENDED:
        return f"{job.id}: {job.state.value} {job.reason}".rstrip()
    if job.state is JobState.RUNNING and holder(lab.home.root) is not None:
        see = f"realm run watch {job.id}" if job.kind == TRAIN else "realm queue list"
        return f"{job.id} goes on in the lab: `{see}`"
    if job.started_at is None:
        return f"{job.id} waits in the queue: `realm up` carries it out in its turn"
    if job.kind != TRAIN:
        return f"{job.id} is queued again: `realm up` goes on with it"
    saved = lab.ledger.checkpoints.latest_of_run(job.id)
    if saved is None:
        return f"{job.id} has no checkpoint yet: `realm up` begins it anew"
    return f"{job.id} is kept at step {saved.step}: `realm up` goes on with it"


def carry_out(lab: Lab, job: str) -> Job:
    """Work the queue in this process until a job has ended. HeldError when the lab is up elsewhere."""
    if lab.queue.get(job).state not in ENDED:  # the launcher takes seconds to start
        with held(lab) as launcher:
            reconcile(lab)
            work(lab, launcher, lambda: lab.queue.get(job).state in ENDED, fill=False, awaited=job)
    return lab.queue.get(job)


def _told(lab: Lab, job: Job) -> Iterator[Event]:
    """Yield a job's events as they come until it has ended, or until nobody works any more."""
    tail = EventTail(lab.home.events(job.id))
    if job.attempt:
        tail.read()  # what an earlier attempt told
    while True:
        # Looked at before reading: the last events are not missed.
        over = lab.queue.get(job.id).state in ENDED or holder(lab.home.root) is None
        yield from tail.read()
        if over:
            return
        time.sleep(control.WATCH_POLL_S)
