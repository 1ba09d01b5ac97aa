"""What the supervisor of a run does with what it sees: trackers, alerts, previews of checkpoints.

Trackers and the prompts' process have what a training child must not have: keys, a network, time.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from realm.core.errors import RealmError
from realm.core.events import AlertRaised, Event, PreviewWritten, StepTaken, ValidationMeasured
from realm.core.hashing import hash_json
from realm.core.seeds import seed
from realm.flows.checkpoints import verified_checkpoint
from realm.flows.children import Supervisor
from realm.flows.plan import RunPlan
from realm.ledger.records import CheckpointRecord, RunRecord
from realm.models.engines.endpoint import Endpoint
from realm.training import alerts
from realm.training.alerts import Alert, AlertState
from realm.training.previews import PreviewJob, Samples, ask, source
from realm.training.sink import TrackedRun, relay_all

log = logging.getLogger(__name__)


class RunWatch:
    """Watches one run from its first event to its last; use as a context.

    It is left when the last previews are made, so that nobody makes them beside it: the next attempt of
    the run's process has its previews told in the same file.
    """

    def __init__(self, supervisor: Supervisor, run: RunRecord) -> None:
        plan = RunPlan.of(run)
        self._supervisor = supervisor
        self._lab = supervisor.lab
        self._run = run.id
        self._watch = plan.recipe.rules.watch
        self._alerts = AlertState()
        self._stepped_at: float | None = None
        self._step = 0
        self._previews: asyncio.Task[None] | None = None
        self._next: CheckpointRecord | None = None
        """The newest that was saved while one before it still answered."""
        self._relays = relay_all(
            self._watch.sinks,
            TrackedRun(
                run=run.id,
                id=tracked_id(run),
                group=run.hero,
                settings={
                    "recipe_name": plan.recipe_name,
                    "dataset": run.dataset,
                    **_flat(plan.recipe.model_dump(mode="json")),
                },
                folder=str(self._lab.home.tracking),
            ),
        )

    async def __aenter__(self) -> RunWatch:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Wait for the previews, or break them off where the run is broken off; close the trackers."""
        try:
            if kind is None or issubclass(kind, Exception):
                await self._finished()
            else:
                await self._broken_off()
        finally:
            for relay in self._relays:
                relay.close()

    def take(self, event: Event) -> None:
        """Pass an event to the trackers and look whether it calls for an alert."""
        for relay in self._relays:
            relay.emit(event)
        if isinstance(event, StepTaken):
            self._stepped_at, self._step = time.monotonic(), event.step
            found = alerts.after_step(self._watch.alerts, self._alerts, event.loss, event.seconds)
        elif isinstance(event, ValidationMeasured):
            found = alerts.after_validation(self._watch.alerts, self._alerts, event.step, event.losses)
        else:
            return
        self._raise(*found)

    def tick(self) -> None:
        """Look whether the step that goes on takes too long."""
        if self._stepped_at is not None:
            waited = time.monotonic() - self._stepped_at
            self._raise(*alerts.while_waiting(self._watch.alerts, self._alerts, waited))

    def _raise(self, state: AlertState, found: tuple[Alert, ...]) -> None:
        self._alerts = state
        for alert in found:
            raised = AlertRaised(
                run=self._run, step=self._step, alert=alert.kind, what=alert.what, hint=alert.hint
            )
            self._lab.emit(raised)
            for relay in self._relays:
                relay.emit(raised)

    # --- previews -------------------------------------------------------------------------

    def saved(self, checkpoint: CheckpointRecord) -> None:
        """Have a saved checkpoint answer the fixed prompts, after the one that still does.

        Where several are saved meanwhile, the newest of them comes next: previews may fall behind training,
        and never by more than one checkpoint.
        """
        previews = self._watch.previews
        if not previews.prompts or previews.made_by == "training":
            return
        if self._previews is not None and not self._previews.done():
            self._next = checkpoint
            return
        self._previews = asyncio.get_running_loop().create_task(self._answered(checkpoint))

    async def _finished(self) -> None:
        if self._previews is not None:
            await self._previews  # who cancels the wait cancels the previews

    async def _broken_off(self) -> None:
        if self._previews is not None:
            self._previews.cancel()
            with suppress(asyncio.CancelledError):
                await self._previews

    async def _answered(self, checkpoint: CheckpointRecord) -> None:
        following: CheckpointRecord | None = checkpoint
        while following is not None:
            ask_service = self._watch.previews.endpoint is not None
            await self._preview(following, self._asked_for if ask_service else self._made)
            following, self._next = self._next, None

    async def _preview(
        self, checkpoint: CheckpointRecord, make: Callable[[CheckpointRecord], Awaitable[None]]
    ) -> None:
        try:
            await make(checkpoint)
        except RealmError as error:  # a run does not end for its previews' sake
            log.warning("%s: no previews of step %d: %s", self._run, checkpoint.step, error.what)

    async def _asked_for(self, checkpoint: CheckpointRecord) -> None:
        """Have a service answer; the training process has no network and no keys."""
        samples, made_by = await asyncio.to_thread(self._ask_service, checkpoint)
        self._previewed(PreviewWritten(run=self._run, step=checkpoint.step, samples=samples, source=made_by))

    def _ask_service(self, checkpoint: CheckpointRecord) -> tuple[Samples, str]:
        service = self._watch.previews.endpoint
        assert service is not None, "saved() asks a service only where there is one"
        if service.load_adapter:
            name = checkpoint.hash.removeprefix("sha256:")
            Endpoint(service).load_adapter(name, verified_checkpoint(self._lab, checkpoint))
            service = service.model_copy(update={"model": name})
        generator = Endpoint(service)
        return ask(generator, self._watch.previews, seed("previews", self._run)), source(generator)

    async def _made(self, checkpoint: CheckpointRecord) -> None:
        """Have the checkpoint's own files answer in a process of their own."""
        beside = f"{self._run}-previews"
        job = PreviewJob(
            run=self._run,
            step=checkpoint.step,
            folder=str(Path(verified_checkpoint(self._lab, checkpoint))),
            previews=self._watch.previews,
            seed=seed("previews", self._run),
            events=str(self._lab.home.events(beside)),
        )
        await self._supervisor.follow("realm.training.previews:main", job, beside, on_event=self._previewed)

    def _previewed(self, event: Event) -> None:
        if isinstance(event, PreviewWritten):
            self._lab.emit(event)


def tracked_id(run: RunRecord) -> str:
    """Name a run as no other is, of this lab or another that reports to the same service.

    It stays when the lab is moved or called otherwise, so that a run finds its record again.
    """
    made = hash_json([run.campaign, run.hero, run.dataset, run.id, run.created_at.isoformat()])
    return f"{run.campaign[:64]}-{run.id}-{made.removeprefix('sha256:')[:12]}"


def _flat(data: Any, path: str = "") -> dict[str, str | int | float | bool]:
    """Return nested settings under dotted keys, as trackers show them."""
    if isinstance(data, dict):
        parts = (_flat(value, f"{path}.{key}" if path else str(key)) for key, value in data.items())
        return {key: value for part in parts for key, value in part.items()}
    if data is None or data == []:
        return {}
    return {path: data if isinstance(data, str | int | float | bool) else str(data)}
