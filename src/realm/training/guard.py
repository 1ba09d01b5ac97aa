"""Whether a step may reach the weights: no NaN, no spike.

A step is judged by its loss and its gradient's norm before the optimizer sees it. What is no finite
number is always discarded. A finite step is a spike where its loss leaves the last sound ones far
behind *and* its gradient does so, or where its gradient alone is beyond all that the run has seen:

    loss > median + max(s · 1.4826 · MAD, 2 · (largest - median), 0.5)  and  norm > 2 · largest norm
    norm > 5 · largest norm of the run

over a window of sound steps. A deviation from the median alone says little: losses of small batches
have long tails, and a model that has learnt its rows has a median of nearly 0 (docs/LOG.md).

When `patience` steps in a row are discarded, either the weights are broken or the data has changed.
The batch of the last sound step decides: if its loss is as it was, a new kind of rows has begun,
which is no fault, and the window begins anew with it. Otherwise the run goes back.

Not covered: a loss that creeps up (`alerts` tells of it), damage within the first `warmup_steps`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import median
from typing import Annotated, NamedTuple

from pydantic import Field

from realm.core.config import Config
from realm.core.records import Record

_MAD_TO_SIGMA = 1.4826
"""Of a normal distribution."""
_LEAST_RISE = 0.5
"""A loss that rises by less does no harm, whatever the steps before were; nats."""
_BEYOND_LARGEST = 2.0
"""Times the largest rise, or norm, of the window."""
_BEYOND_RUN = 5.0
"""Times the largest norm of the run's sound steps."""


class Guard(Config):
    """When steps are discarded."""

    spike_sigmas: Annotated[float, Field(gt=0)] | None = 12.0
    """Deviations above the median that make a spike; none looks for NaN alone."""
    window_steps: Annotated[int, Field(ge=8)] = 64
    """Sound steps that a step is compared with."""
    warmup_steps: Annotated[int, Field(ge=1)] = 32
    """Sound steps before spikes are looked for."""
    patience: Annotated[int, Field(ge=1)] = 3
    """So many discarded steps in a row take the run back to its last saved state."""
    max_discarded: Annotated[int, Field(ge=0)] = 12
    """So many discarded steps end the run."""


class GuardState(Record):
    """What is remembered of the steps before."""

    losses: tuple[float, ...] = ()
    norms: tuple[float, ...] = ()
    peak: float = 0.0
    """The largest norm of a sound step of the run."""
    bad: int = 0
    """Steps discarded in a row."""
    sound: int | None = None
    """The batch of the last sound step."""


class Verdict(NamedTuple):
    """What to do with a step."""

    state: GuardState
    cause: str | None
    """Why the step is discarded; none for a sound one."""
    back: bool
    """Whether the weights are taken to be broken as well."""


def judge(
    guard: Guard,
    state: GuardState,
    loss: float,
    norm: float,
    *,
    batch: int | None = None,
    again: Callable[[int], float] | None = None,
) -> Verdict:
    """Judge one step by its loss and its gradient's norm before clipping.

    `batch` says which batch the step is of. `again` computes the loss of an earlier batch with the
    present weights, and is called at most once, when patience is at its end; without it the weights
    are taken to be broken then.
    """
    if not math.isfinite(loss) or not math.isfinite(norm):
        return _discarded(guard, state, f"the loss is {loss} and the gradient's norm {norm}")
    cause = _spike(guard, state, loss, norm)
    if cause is None:
        return Verdict(_with(guard, state, loss, norm, batch), None, False)
    verdict = _discarded(guard, state, cause)
    if verdict.back and again is not None and state.sound is not None:
        # Rounding to no number compares as a rise.
        if not again(state.sound) - median(state.losses) <= _rise_allowed(guard, state):
            return verdict
        anew = GuardState(peak=state.peak)
        return Verdict(_with(guard, anew, loss, norm, batch), None, False)
    return verdict


def _with(guard: Guard, state: GuardState, loss: float, norm: float, batch: int | None) -> GuardState:
    kept = -guard.window_steps
    return GuardState(
        losses=(*state.losses, loss)[kept:],
        norms=(*state.norms, norm)[kept:],
        peak=max(state.peak, norm),
        sound=batch,
    )


def _discarded(guard: Guard, state: GuardState, cause: str) -> Verdict:
    bad = state.bad + 1
    return Verdict(state.model_copy(update={"bad": bad}), cause, bad >= guard.patience)


def _spike(guard: Guard, state: GuardState, loss: float, norm: float) -> str | None:
    """Say in which way a finite step is a spike, if it is one."""
    if guard.spike_sigmas is None or len(state.losses) < guard.warmup_steps:
        return None
    before = len(state.losses)
    if norm > _BEYOND_RUN * state.peak:
        return (
            f"the gradient's norm {norm:.3g} is {_times(norm, state.peak)} times the run's largest before, "
            f"{state.peak:.3g}"
        )
    rise, largest = loss - median(state.losses), max(state.norms)
    if rise <= _rise_allowed(guard, state) or norm <= _BEYOND_LARGEST * largest:
        return None
    return (
        f"the loss {loss:.3g} is {_times(rise, _deviation(state))} sigmas above the median "
        f"{median(state.losses):.3g} of the last {before} steps, and the gradient's norm {norm:.3g} "
        f"{_times(norm, largest)} times their largest"
    )


def _rise_allowed(guard: Guard, state: GuardState) -> float:
    """Return how far above the window's median a loss may lie, in nats."""
    largest = max(state.losses) - median(state.losses)
    sigmas = (guard.spike_sigmas or math.inf) * _deviation(state)
    return max(sigmas, _BEYOND_LARGEST * largest, _LEAST_RISE)


def _deviation(state: GuardState) -> float:
    middle = median(state.losses)
    return _MAD_TO_SIGMA * median(abs(loss - middle) for loss in state.losses)


def _times(value: float, unit: float) -> str:
    """Write how often `unit` goes into `value`; a unit of nearly 0 gives no sensible figure."""
    return f"{value / unit:.0f}" if unit > value / 1000 else "over 1000"
