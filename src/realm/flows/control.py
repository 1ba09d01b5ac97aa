"""Pause, resume and stop runs from another process; watch one while it goes on."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

from realm.core.errors import HeldError, NotFoundError, StateError, UnavailableError
from realm.core.events import Event
from realm.core.hashing import hash_json
from realm.core.records import Fence, Priority
from realm.flows.context import Lab
from realm.flows.estimate import refuse_missing_gpus
from realm.flows.examination import EVALUATE
from realm.flows.plan import RunPlan, with_processes
from realm.flows.runs import TRAIN
from realm.jobs.queue import Job, JobState
from realm.jobs.tail import EventTail
from realm.ledger.records import RunRecord
from realm.storage.lock import HomeLock, holder

ENDED = (JobState.DONE, JobState.FAILED, JobState.DROPPED)
WATCH_POLL_S = 0.2


def job_of(lab: Lab, run: str | None, states: tuple[JobState, ...]) -> Job:
    """Return the named run's job, or the only one in one of the states."""
    if run is not None:
        return lab.queue.get(run)
    found = [job for job in lab.queue.list() if job.state in states]
    if len(found) == 1:
        return found[0]
    what = " or ".join(state.value for state in states)
    if not found:
        raise NotFoundError(f"no run is {what}", hint=_instead(lab))
    raise StateError(
        f"{len(found)} runs are {what}", hint=f"name one of: {', '.join(job.id for job in found)}"
    )


def _instead(lab: Lab) -> str:
    """Say where to look when no run is in the state that was looked for."""
    waiting = lab.queue.list({JobState.QUEUED}, limit=1)
    if waiting and holder(lab.home.root) is None:
        return f"{waiting[0].id} is queued: `realm up` goes on with it"
    return "see `realm run list`"


def put_back(lab: Lab) -> list[Job]:
    """Queue again what is `running` though nobody works on it, and return the jobs.

    Only the holder of the home's lock may call this, while it works on nothing. A process that a killed
    one left behind dies with it, and what it still saves is nobody's: nothing is done twice.
    """
    back = lab.queue.put_back()
    if back:
        end_dropped(lab)
    return back


def _left_behind(lab: Lab) -> list[Job]:
    """Put back what a process that is gone left `running`; nothing while somebody holds the home."""
    if lab.queue.list({JobState.RUNNING}, limit=1) and holder(lab.home.root) is None:
        with suppress(HeldError), HomeLock(lab.home.root):  # who was quicker works on it
            return put_back(lab)
    return []


def _gone_on_with(lab: Lab, job: str | None, processes: int | None) -> Job | None:
    """Return a job that was left behind, queued again, in so many processes; None for any other."""
    queued = {each.id: each for each in _left_behind(lab) if each.state is JobState.QUEUED}
    left = queued.get(job or "")
    if left is None or processes is None:
        return left
    _in_processes(lab, left, processes)
    lab.queue.pause(left.id)  # nobody begins it before it is planned anew
    return resume(lab, left.id, processes=processes)


def pause(lab: Lab, run: str | None = None) -> Job:
    """Ask a run to save within one step and free the device; at once where nobody works on it."""
    job = job_of(lab, run, (JobState.RUNNING,))
    _left_behind(lab)
    return lab.queue.pause(job.id)


def resume(lab: Lab, run: str | None = None, *, processes: int | None = None) -> Job:
    """Queue a paused run again; it goes on from where it paused, also in another number of processes.

    So does a run whose process is gone, from its last checkpoint.
    """
    left = _gone_on_with(lab, run, processes)
    if left is not None:
        return left
    job = job_of(lab, run, (JobState.PAUSED,))
    if processes is not None and job.state is JobState.PAUSED:
        plan = _in_processes(lab, job, processes)
        _replan(lab, job.id, plan, lab.ledger.fences.take(f"run/{job.id}"))
    return lab.queue.resume(job.id)


def save(lab: Lab, run: str | None = None) -> Job:
    """Ask a running run for a checkpoint after the step it is at; it goes on meanwhile."""
    _left_behind(lab)
    job = job_of(lab, run, (JobState.RUNNING,))
    if job.state is not JobState.RUNNING:
        raise StateError(f"{job.id} is {job.state.value}, not running", hint=_instead(lab))
    lab.home.save_now(job.id).touch()
    return job


def stop(lab: Lab, run: str | None = None) -> Job:
    """End a run for good, with a valid checkpoint of the step it is at.

    Where nobody works on it, that is the one it saved last.
    """
    job = job_of(lab, run, (JobState.RUNNING, JobState.PAUSED))
    _left_behind(lab)
    job = lab.queue.stop(job.id)
    if job.state is JobState.DROPPED:
        end_dropped(lab)
    return job


def retry(lab: Lab, job: str, *, processes: int | None = None) -> Job:
    """Queue a failed or dropped job again, or one whose process is gone.

    Its run goes on from its last checkpoint. `processes` is the number of ranks it goes on with; none
    leaves it. Raises StateError for a job that does not train in ranks, RefusedError for more on GPUs than
    this machine has.
    """
    left = _gone_on_with(lab, job, processes)
    if left is not None:
        return left
    found = lab.queue.get(job)
    if found.state in (JobState.FAILED, JobState.DROPPED):
        plan = None if processes is None else _in_processes(lab, found, processes)
        if found.kind == TRAIN:
            # Only then: a new fencing number would shut out the worker of a run that goes on.
            fence = lab.ledger.fences.take(f"run/{job}")
            lab.ledger.runs.reopen(job, fence)
            if plan is not None:
                _replan(lab, job, plan, fence)
    return lab.queue.retry(job)


def _in_processes(lab: Lab, job: Job, processes: int) -> RunPlan:
    if job.kind != TRAIN:
        raise StateError(f"{job.id} is no training run", hint="leave --processes out")
    plan = with_processes(lab.ledger.runs.get(job.id), processes)
    refuse_missing_gpus(plan.recipe)
    return plan


def _replan(lab: Lab, run: str, plan: RunPlan, fence: Fence) -> None:
    spec = plan.model_dump(mode="json")
    lab.ledger.runs.replan(run, spec, hash_json(spec), fence)


def move(lab: Lab, job: str, priority: Priority) -> Job:
    """Give a job that nobody works on another priority."""
    _left_behind(lab)
    return lab.queue.move(job, priority)


def drop(lab: Lab, job: str, reason: str) -> Job:
    """Take a job out of the queue for good; what its run saved stays."""
    _left_behind(lab)
    lab.queue.drop(job, reason)
    end_dropped(lab)
    return lab.queue.get(job)


def run_to_watch(lab: Lab, run: str | None) -> RunRecord:
    """Return the named run, else the running one, else the newest."""
    if run is not None:
        return lab.ledger.runs.get(run)
    running = [job.id for job in lab.queue.list({JobState.RUNNING}) if job.kind == TRAIN]
    newest = lab.ledger.runs.list(1)
    if not running and not newest:
        raise NotFoundError("there is no run yet", hint="drop a file into the inbox, or run `realm up`")
    return lab.ledger.runs.get(running[0]) if running else newest[0]


def waiting_for(lab: Lab) -> str:
    """Say what keeps the lab from making drills by itself; empty when nothing does.

    A run that failed or was stopped since the lab came up is not simply followed by the next
    one: repeating a failure would help nobody. Whatever is queued wakes the lab, a restart too. An
    evaluation on a suite keeps nobody from training.
    """
    jobs = [job for job in lab.queue.list() if job.kind != EVALUATE]
    paused = [job.id for job in jobs if job.state is JobState.PAUSED]
    if paused:
        return f"{paused[0]} is paused: `realm run resume`"
    found = holder(lab.home.root)
    ended = [job for job in jobs if job.ended_at and found and job.ended_at >= found.since]
    last = max(ended, key=lambda job: job.ended_at or job.created_at, default=None)
    if last is not None and last.state is JobState.FAILED:
        return f"{last.id} failed: `realm queue retry {last.id}`, or drop a file into the inbox"
    if last is not None and last.reason.startswith("stopped"):
        return f"{last.id} was stopped: drop a file into the inbox, or start the lab again"
    return ""


def shut_down(lab: Lab, timeout_s: float = 30.0) -> int | None:
    """End the process that holds the home and wait for it. Returns its pid; None when none held it."""
    found = holder(lab.home.root)
    if found is None:
        return None
    os.kill(found.pid, signal.SIGTERM)
    deadline = time.monotonic() + timeout_s
    while holder(lab.home.root) is not None:
        if time.monotonic() > deadline:
            raise UnavailableError(f"the lab (pid {found.pid}) has not ended within {timeout_s:.0f} s")
        time.sleep(WATCH_POLL_S)
    return found.pid


def end_dropped(lab: Lab) -> None:
    """End the runs in the ledger whose jobs were dropped from the queue."""
    dropped = {job.id: job for job in lab.queue.list({JobState.DROPPED})}
    for run in lab.ledger.runs.open():
        if job := dropped.get(run.id):
            saved = lab.ledger.checkpoints.latest_of_run(run.id)
            fence = lab.ledger.fences.take(f"run/{run.id}")
            lab.ledger.runs.end(run.id, "stopped" if saved else "dropped", job.reason, fence)


def wait_for(lab: Lab, run: str, reached: Callable[[Job], bool], timeout_s: float) -> Job:
    """Wait until a run's job is in a state. Returns the job as it is at the end of the time."""
    deadline = time.monotonic() + timeout_s
    while True:
        job = lab.queue.get(run)
        if reached(job) or time.monotonic() > deadline or holder(lab.home.root) is None:
            return job
        time.sleep(WATCH_POLL_S)


def watch(lab: Lab, run: RunRecord, *, follow: bool = True) -> Iterator[Event | None]:
    """Yield a run's events from its beginning, then new ones until it has ended.

    Yields None while nothing happens, so that a view can draw itself anew.
    """
    tail = EventTail(lab.home.events(run.id))
    while True:
        ended = _has_ended(lab, run.id)  # before reading: the last events are not missed
        yield from tail.read()
        if ended or not follow:
            return
        yield None
        time.sleep(WATCH_POLL_S)


def _has_ended(lab: Lab, run: str) -> bool:
    """Say whether a run's job is over; a run whose job is not queued yet is not."""
    return any(job.id == run and job.state in ENDED for job in lab.queue.list())
