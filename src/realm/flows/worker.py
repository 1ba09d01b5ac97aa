"""`realm up`: hold the home, take what the inbox and the sources have, work the queue, keep it filled."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from realm.core.errors import RealmError, StateError
from realm.core.events import JobEnded
from realm.flows.children import PRELOAD, Supervisor
from realm.flows.context import Lab
from realm.flows.control import put_back, waiting_for
from realm.flows.drills import queue_drills
from realm.flows.examination import EVALUATE, examine_step
from realm.flows.intake import start_watching
from realm.flows.judging import JUDGE, judge_step
from realm.flows.live import start_watching_sources
from realm.flows.mining import mine_step
from realm.flows.reconcile import Reconciled, reconcile
from realm.flows.runs import MINE, SPAR, TRAIN
from realm.flows.skills import enabled_skills, left_out
from realm.flows.sparring import spar_step
from realm.flows.training import train_step
from realm.jobs.children import WarmLauncher
from realm.jobs.queue import Job, JobState
from realm.jobs.worker import Worker
from realm.models.extra import require_training_extra
from realm.storage.lock import HomeLock

WATCHER_TIMEOUT_S = 5.0
WAITING_S = 0.25
"""Pause between two looks at an idle queue."""
FRUITLESS_S = 60.0
"""Pause after a round in which no skill had anything to drill."""

log = logging.getLogger(__name__)

_STEPS = {TRAIN: train_step, EVALUATE: examine_step, JUDGE: judge_step, SPAR: spar_step, MINE: mine_step}
"""What carries out each kind of job."""


@contextmanager
def held(lab: Lab) -> Iterator[WarmLauncher]:
    """Hold the home, with a launcher that warms up meanwhile.

    Raises HeldError when another process holds the home.
    """
    require_training_extra()
    with HomeLock(lab.home.root):
        launcher = WarmLauncher(PRELOAD)
        launcher.start()
        try:
            yield launcher
        finally:
            launcher.close()


def up(lab: Lab, until: Callable[[], bool], on_ready: Callable[[Reconciled], None]) -> None:
    """Hold the home, watch the inbox and the sources, and work the queue until `until` is true."""
    with held(lab) as launcher:
        on_ready(reconcile(lab))
        for skill in left_out(lab, enabled_skills(lab) if lab.config.drills.automatic else ()):
            log.warning("skill %s is left out: %s", skill.skill, skill.reason)
        ended = threading.Event()
        watchers = (
            start_watching(lab, ended.is_set, _report),
            start_watching_sources(lab, ended.is_set, _report_source),
        )
        try:
            work(lab, launcher, until)
        finally:
            ended.set()
            for watcher in watchers:
                watcher.join(timeout=WATCHER_TIMEOUT_S)


def work(
    lab: Lab,
    launcher: WarmLauncher,
    until: Callable[[], bool],
    *,
    fill: bool = True,
    below: int | None = None,
    awaited: str | None = None,
) -> None:
    """Work the queue until `until` is true, and with `fill` drill when it runs low.

    `below` is the number of jobs that it runs low at; None means what the lab's config says. `awaited` is
    the job whose end the caller tells by itself. What is not done in the end is queued again.
    """
    supervisor = Supervisor(lab, launcher)

    def on_change(job: Job) -> None:
        if job.state not in (JobState.QUEUED, JobState.RUNNING):
            lab.emit(JobEnded(job=job.id, state=job.state.value, reason=job.reason))

    filler = Filler(lab, lab.config.drills.below if below is None else below)
    steps = {kind: partial(step, supervisor) for kind, step in _STEPS.items()}
    worker = Worker(lab.queue, steps, on_change=on_change, awaited=awaited)
    try:
        worker.run(lambda: until() or (fill and filler.tick()))
    finally:
        put_back(lab)


def _report(error: RealmError) -> None:
    log.warning("%s", error)


def _report_source(source: str, error: RealmError) -> None:
    log.warning("source %s: %s", source, error)


class Filler:
    """Generates drills whenever there is too little to do and nobody has to act first."""

    def __init__(self, lab: Lab, below: int) -> None:
        self.lab = lab
        self.below = below
        self._look_at = 0.0

    def tick(self) -> bool:
        """Fill the queue if it holds too few jobs; never asks the worker to end."""
        if not self.lab.config.drills.automatic or not self._low():
            return False
        if time.monotonic() >= self._look_at:
            fruitless = not waiting_for(self.lab) and not self._queued()
            self._look_at = time.monotonic() + (FRUITLESS_S if fruitless else WAITING_S)
        return False

    def _queued(self) -> bool:
        """Queue drills; where the hero is in no state for them, say why and go on with what else there is."""
        try:
            return bool(queue_drills(self.lab))
        except StateError as error:
            log.warning("no drills are made: %s", error)
            return False

    def _low(self) -> bool:
        if self.below == 1:
            return self.lab.queue.idle()  # asked many times a second
        return len(self.lab.queue.owed()) < self.below
