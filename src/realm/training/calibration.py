"""What past runs teach estimates: a factor for memory and one for time, for each machine.

A factor is the median of measured by predicted over the last runs of a machine (robust: one odd run
moves nothing), drawn towards 1 while there are few, and bounded. Without runs it is 1. Memory that is
not the model's (the process and its imports) is left out of both sides.
"""

from __future__ import annotations

import math
import platform
from collections.abc import Iterable, Sequence
from statistics import median
from typing import Annotated

from pydantic import Field

from realm.core.records import Record
from realm.training.estimate import PROCESS_BYTES, Estimate

_PRIOR = 2.0
"""Runs that agreed with the formula, imagined before the first."""
_BOUNDS = (0.5, 2.0)
_TIME_BOUNDS = (0.05, 20.0)
"""Hardware differs more than memory does."""


class Prediction(Record):
    """What was predicted for a run, as its spec keeps it."""

    machine: str
    """As `machine_key` writes it."""
    peak_bytes: Annotated[int, Field(ge=0)]
    """Of the device, as the formula said before any factor."""
    step_seconds: Annotated[float, Field(ge=0)]
    step_tokens: Annotated[int, Field(ge=0)]


class Observation(Record):
    """A prediction, and what became of it."""

    predicted: Prediction
    peak_bytes: Annotated[int, Field(ge=0)] = 0
    """The highest `StepTaken.memory_bytes`; 0 where it is not known."""
    step_seconds: Annotated[float, Field(ge=0)] = 0.0
    """Median of the steps; 0 where it is not known."""
    step_tokens: Annotated[int, Field(ge=0)] = 0
    """Mean of the steps."""


_LEAST_BYTES = 64 << 20
"""Predicted beside the process; nothing is learnt about memory from smaller runs."""


class Factors(Record):
    """What to multiply the formula's figures by on a machine."""

    memory: float = 1.0
    seconds: float = 1.0
    runs: int = 0
    """How many they were learnt from."""


def machine_key(kind: str, device: str = "") -> str:
    """Name a machine by what decides memory and speed: device, or processor and system."""
    return f"cuda/{device}" if kind == "cuda" else f"cpu/{platform.system().lower()}-{platform.machine()}"


def prediction(found: Estimate, *, machine: str, factors: Factors | None = None) -> Prediction:
    """Return what to keep of an estimate, with the factors it was made with taken out."""
    used = factors or Factors()
    process = _process(machine)
    return Prediction(
        machine=machine,
        peak_bytes=round((found.peak_bytes - process) / used.memory) + process,
        step_seconds=found.step_seconds / used.seconds,
        step_tokens=found.step_tokens,
    )


def factors(observations: Iterable[Observation], machine: str) -> Factors:
    """Return the factors of a machine; what others took counts for nothing."""
    own = [seen for seen in observations if seen.predicted.machine == machine]
    memory = [ratio for seen in own if (ratio := _memory_ratio(seen)) is not None]
    seconds = [ratio for seen in own if (ratio := _seconds_ratio(seen)) is not None]
    return Factors(
        memory=_drawn(memory, _BOUNDS),
        seconds=_drawn(seconds, _TIME_BOUNDS),
        runs=max(len(memory), len(seconds)),
    )


def _memory_ratio(seen: Observation) -> float | None:
    process = _process(seen.predicted.machine)
    measured, predicted = seen.peak_bytes - process, seen.predicted.peak_bytes - process
    # Of a smaller run the process itself, which is never quite the same, would be most of it.
    return measured / predicted if measured > 0 and predicted > _LEAST_BYTES else None


def _seconds_ratio(seen: Observation) -> float | None:
    """Compare seconds a token: the data's lengths are known better afterwards."""
    told = seen.predicted
    if not (seen.step_seconds and seen.step_tokens and told.step_seconds and told.step_tokens):
        return None
    return (seen.step_seconds / seen.step_tokens) / (told.step_seconds / told.step_tokens)


def _process(machine: str) -> int:
    return PROCESS_BYTES if machine.startswith("cpu/") else 0


def _drawn(ratios: Sequence[float], bounds: tuple[float, float]) -> float:
    """Return the median, geometrically drawn towards 1 by the prior, within bounds."""
    if not ratios:
        return 1.0
    weight = len(ratios) / (len(ratios) + _PRIOR)
    low, high = bounds
    return min(high, max(low, math.exp(weight * math.log(median(ratios)))))
