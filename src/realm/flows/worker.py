"""`realm up`: hold the home, take what the inbox and the sources have, work the queue, keep it filled."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from realm.core.errors import RealmError
from realm.core.events import JobEnded
from realm.flows.children import PRELOAD, Supervisor
from realm.flows.context import Lab
from realm.flows.control import waiting_for
from realm.flows.drills import queue_drills
from realm.flows.intake import start_watching
from realm.flows.live import start_watching_sources
from realm.flows.reconcile import Reconciled, reconcile
from realm.flows.runs import TRAIN
from realm.flows.training import train_step
from realm.jobs.children import WarmLauncher
from realm.jobs.queue import Job, JobState
from realm.jobs.worker import Outcome, StepContext, Worker
from realm.models.extra import require_training_extra
from realm.storage.lock import HomeLock

WATCHER_TIMEOUT_S = 5.0
WAITING_S = 0.25
"""Pause between two looks at an idle queue."""

log = logging.getLogger(__name__)


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


def work(lab: Lab, launcher: WarmLauncher, until: Callable[[], bool], *, fill: bool = True) -> None:
    """Work the queue, and with `fill` drill when it is empty, until `until` is true."""
    supervisor = Supervisor(lab, launcher)

    async def train(context: StepContext) -> Outcome:
        return await train_step(supervisor, context)

    def on_change(job: Job) -> None:
        if job.state not in (JobState.QUEUED, JobState.RUNNING):
            lab.emit(JobEnded(job=job.id, state=job.state.value, reason=job.reason))

    filler = Filler(lab)
    Worker(lab.queue, {TRAIN: train}, on_change=on_change).run(lambda: until() or (fill and filler.tick()))


def _report(error: RealmError) -> None:
    log.warning("%s", error)


def _report_source(source: str, error: RealmError) -> None:
    log.warning("source %s: %s", source, error)


class Filler:
    """Generates drills whenever there is nothing else to do and nobody has to act first."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self._look_at = 0.0

    def tick(self) -> bool:
        """Fill the queue if it is empty; never asks the worker to end."""
        if not self.lab.config.drills.automatic or not self.lab.queue.idle():
            return False
        if time.monotonic() >= self._look_at:
            if not waiting_for(self.lab):
                queue_drills(self.lab)
            self._look_at = time.monotonic() + WAITING_S
        return False
