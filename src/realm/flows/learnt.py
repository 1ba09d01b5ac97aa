"""What past runs of a realm were predicted to take, and took."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from itertools import islice

from pydantic import ValidationError

from realm.core import events as event_lines
from realm.core.events import RunPredicted, StepTaken
from realm.flows.home import Home
from realm.ledger.ledger import Ledger
from realm.training import calibration
from realm.training.calibration import Factors, Observation, Prediction
from realm.training.hardware import Hardware

_EVENTS_BYTES = 1 << 20
_RUNS = 8
"""That are looked at; older ones are of older code."""


def learnt(home: Home, found: Hardware) -> Factors:
    """Return what past runs teach of a machine; nothing where there is no realm or it never ran."""
    if not home.ledger.is_file():
        return Factors()
    with Ledger.open(home.ledger) as ledger:
        return taught(home, ledger, calibration.machine_key(found.kind, found.name))


def taught(home: Home, ledger: Ledger, machine: str) -> Factors:
    """Return what the realm's last runs on a machine teach of it."""
    told = {
        event.run: event
        for _, _, event in ledger.events.list(["run_predicted"])
        if isinstance(event, RunPredicted) and event.machine == machine
    }
    found = (_observation(home, event) for event in reversed(told.values()))
    return calibration.factors(islice((seen for seen in found if seen is not None), _RUNS), machine)


def _observation(home: Home, told: RunPredicted) -> Observation | None:
    path = home.events(told.run)
    if not path.is_file():
        return None
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _EVENTS_BYTES))
        steps = [event for line in file for event in _step(line)]
    if not steps:
        return None
    return Observation(
        predicted=Prediction.model_validate(told.model_dump(include=set(Prediction.model_fields))),
        peak_bytes=max(step.memory_bytes for step in steps),
        step_seconds=statistics.median(step.seconds for step in steps),
        step_tokens=round(statistics.mean(step.tokens for step in steps)),
    )


def _step(line: bytes) -> Iterator[StepTaken]:
    """Yield the step that a line tells of; the first line may be half of one, and a killed writer's torn."""
    if line.startswith(b"{") and b'"step_taken"' in line and line.endswith(b"\n"):
        try:
            event = event_lines.read(line)
        except ValidationError:
            return
        if isinstance(event, StepTaken):
            yield event
