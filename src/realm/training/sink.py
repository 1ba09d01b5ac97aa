"""The contract of the `sink` family: trackers that are told a run's figures.

The supervisor feeds them: a training child has neither secrets nor network. Each sink has a thread
and a bounded queue of its own, so that a tracker that is slow, broken or absent never holds up a
run: what it cannot take is counted, and one warning says so. The x axis is the run's own step; the
hero's is the figure `train/hero_step`. Steps that are taken again after a crash are told again.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Iterable, Sequence
from importlib.util import find_spec
from typing import Annotated, Literal, Protocol

from pydantic import Field

from realm.core.config import Config
from realm.core.errors import MissingExtraError
from realm.core.events import (
    AlertRaised,
    Event,
    Failed,
    LayersMeasured,
    RolledBack,
    RunFinished,
    RunInterrupted,
    RunStarted,
    StepTaken,
    ValidationMeasured,
)
from realm.core.kinds import Family
from realm.core.records import Name, Record

log = logging.getLogger(__name__)

Outcome = Literal["finished", "interrupted", "failed"]
"""How a run left: an interrupted one may go on in the same record."""

_BATCH = 256
"""Events handed to a sink at once, at most."""


class TrackedRun(Record):
    """What a tracker is told about a run before its first figure."""

    run: Name
    """What the run is called in its lab."""
    id: Name
    """Identifies its record among those of all labs, so that a resumed run goes on with it and no other."""
    group: str = ""
    """The hero; trackers that group runs do so by it."""
    settings: dict[str, str | int | float | bool] = Field(default_factory=dict)
    """What distinguishes the run: dotted recipe keys, dataset, seed."""
    folder: str
    """Where sinks that write files do so; shared by all runs of a lab."""
    step: Annotated[int, Field(ge=0)] = 0
    """Steps taken before; above 0 where a run is gone on with."""


class Measured(Record):
    """Figures of one step, by the names that trackers show."""

    step: int
    at: str
    """ISO 8601 UTC, or empty."""
    figures: dict[str, float]


class Sink(Protocol):
    """A tracker. All calls come from one thread, which is not the supervisor's."""

    def require(self) -> None:
        """Raise MissingExtraError unless its library is installed; imports nothing heavy."""
        ...

    def open(self, run: TrackedRun) -> None:
        """Begin the run's record, or go on with the one that is there. Raises MissingExtraError."""
        ...

    def write(self, measured: Sequence[Measured]) -> None:
        """Add figures, in the order they were measured."""
        ...

    def close(self, outcome: Outcome) -> None:
        """Hand over everything that was written; the record may be opened again."""
        ...


SINKS: Family[Sink] = Family("sink", "realm.training.sinks")
"""Kinds of the `sink` family."""


def require_extra(kind: str, module: str) -> None:
    """Raise MissingExtraError, naming the extra, unless `module` is installed."""
    if find_spec(module) is None:
        raise MissingExtraError(
            f"the sink {kind} needs {module}", hint=f"install its extra: pip install 'realm-lab[{kind}]'"
        )


def measured_in(event: Event) -> Measured | None:
    """Return an event's figures under the names trackers use; none for events without any."""
    match event:
        case StepTaken():
            figures = _step_figures(event)
        case ValidationMeasured():
            figures = {f"eval/{name}_loss": loss for name, loss in event.losses.items()}
        case LayersMeasured():
            figures = {
                f"layers/{layer}/{what}": value
                for what, by_layer in (
                    ("norm", event.norms),
                    ("grad_norm", event.gradients),
                    ("drift", event.drift),
                )
                for layer, value in by_layer.items()
            }
        case AlertRaised():
            figures = {f"alerts/{event.alert}": 1.0}
        case RolledBack():
            figures = {"alerts/rolled_back": 1.0}
        case _:
            return None
    return Measured(step=event.step, at=event.at, figures=figures)


def _step_figures(event: StepTaken) -> dict[str, float]:
    seconds = max(event.seconds, 1e-9)
    figures = {f"train/{name}": value for name, value in event.figures.items()} | {
        "train/loss": event.loss,
        "train/grad_norm": event.gradient_norm,
        "train/learning_rate": event.learning_rate,
        "train/tokens_per_second": event.tokens / seconds,
        "train/trained_tokens_per_second": event.trained_tokens / seconds,
        "train/step_seconds": event.seconds,
        "train/hero_step": float(event.hero_step),
    }
    if event.memory_bytes:
        figures["train/memory_bytes"] = float(event.memory_bytes)
    return figures


class Relay:
    """Feed one sink from a thread of its own; `emit` returns at once whatever the tracker does."""

    def __init__(self, kind: str, sink: Sink, run: TrackedRun, *, room: int = 10_000) -> None:
        self._kind, self._sink, self._run, self._room = kind, sink, run, room
        self._waiting: deque[RunStarted | Measured | Outcome] = deque()
        self._changed = threading.Condition()
        self._closing = self._open = self._warned = False
        self._dropped = 0
        self._thread = threading.Thread(target=self._serve, daemon=True, name=f"sink {kind}")
        self._thread.start()

    @property
    def dropped(self) -> int:
        """Events with figures that the tracker has not got."""
        return self._dropped

    def emit(self, event: Event) -> None:
        """Queue what an event means to a tracker. `RunStarted` opens it, the run's end closes it."""
        item: RunStarted | Measured | Outcome | None
        match event:
            case RunStarted():
                item = event
            case RunFinished():
                item = "finished"
            case RunInterrupted():
                item = "interrupted"
            case Failed():
                item = "failed"
            case _:
                item = measured_in(event)
        if item is None:
            return
        with self._changed:
            full = isinstance(item, Measured) and len(self._waiting) >= self._room
            if not full:
                self._waiting.append(item)
                self._changed.notify()
        if full:
            self._drop(1, "it is too slow")

    def close(self, timeout_s: float = 10.0) -> int:
        """Wait for the tracker, at most so long; return how many events it has not got."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join(timeout_s)
        if self._thread.is_alive():
            with self._changed:
                left = sum(isinstance(item, Measured) for item in self._waiting)
                self._waiting.clear()
            self._drop(left, f"it did not finish within {timeout_s:.0f} s")
        return self._dropped

    # --- in the relay's own thread ----------------------------------------------------------

    def _serve(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closing)
                batch = self._next()
            if not batch:
                self._finish("interrupted")
                return
            match batch[0]:
                case Measured():
                    self._write([item for item in batch if isinstance(item, Measured)])
                case RunStarted() as started:
                    self._finish("interrupted")
                    self._begin(started.step)
                case outcome:
                    self._finish(outcome)

    def _next(self) -> list[RunStarted | Measured | Outcome]:
        """Take what comes next: as many figures as lie together, or one beginning or end."""
        batch: list[RunStarted | Measured | Outcome] = []
        while self._waiting and len(batch) < _BATCH:
            if batch and not (isinstance(batch[0], Measured) and isinstance(self._waiting[0], Measured)):
                break
            batch.append(self._waiting.popleft())
        return batch

    def _begin(self, step: int) -> None:
        # A foreign library may raise anything at all, and a run never ends for its tracker's sake.
        try:
            self._sink.open(self._run.model_copy(update={"step": step}))
            self._open = True
        except Exception as error:  # noqa: BLE001
            self._drop(0, _said(error))

    def _write(self, batch: list[Measured]) -> None:
        if not self._open:
            self._drop(len(batch), "it is not open")
            return
        try:
            self._sink.write(batch)
        except Exception as error:  # noqa: BLE001
            self._drop(len(batch), _said(error))

    def _finish(self, outcome: Outcome) -> None:
        if not self._open:
            return
        self._open = False
        try:
            self._sink.close(outcome)
        except Exception as error:  # noqa: BLE001
            self._drop(0, _said(error))

    def _drop(self, events: int, why: str) -> None:
        with self._changed:
            self._dropped += events
            first, self._warned = not self._warned, True
        if first:
            log.warning(
                "run %s goes on without the tracker %s where it fails: %s", self._run.run, self._kind, why
            )


def relay_all(configs: Iterable[Config], run: TrackedRun) -> list[Relay]:
    """Build a relay for each configured sink. Raises MissingExtraError before any of them starts."""
    sinks = [SINKS.build(config) for config in configs]
    for sink in sinks:
        sink.require()
    return [Relay(type(sink).__name__.lower(), sink, run) for sink in sinks]


def _said(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]
