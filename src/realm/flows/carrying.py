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
    as it is then: still queued where the lab was left alone with it, running where it went down meanwhile.
    """
    while True:
        if holder(lab.home.root) is None:
            with suppress(HeldError):  # somebody else was quicker, and is followed
                return carry_out(lab, job.id)
        if follow:
            for event in _told(lab, job):
                lab.show(event)
        found = lab.queue.get(job.id)
        if not follow or found.state is not JobState.QUEUED:
            return found


def carry_out(lab: Lab, job: str) -> Job:
    """Work the queue in this process until a job has ended. HeldError when the lab is up elsewhere."""
    if lab.queue.get(job).state not in ENDED:  # the launcher takes seconds to start
        with held(lab) as launcher:
            reconcile(lab)
            work(lab, launcher, lambda: lab.queue.get(job).state in ENDED, fill=False)
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
