"""Whether a step may reach the weights: no NaN, no spike, no step of broken weights.

A step is judged by its loss and its gradient's norm before the optimizer sees it. What is no finite
number is always discarded. A finite loss is high where

    loss - median > max(s · 1.4826 · MAD, 3 · largest rise, 0.5)

with median and MAD over a window of sound steps; the largest rise and norm are those of late, forgotten
by a thousandth a step. Deviations alone say little: losses of small batches have long tails, and a model
that has learnt its rows has a median of nearly 0. A step is a spike, and discarded, where

    its loss is high  and  norm > 3 · largest norm of late,   or   norm > 100 · largest norm of the run.

A high loss with a usual gradient comes from hard or new rows, or from broken weights, which often have
small gradients. The batch of the last sound step tells them apart: with broken weights its loss has
risen as well, by half as much at least. Then the step is discarded; otherwise it is taken, and when the
losses stay high the window begins anew. `patience` discarded steps in a row take the run back, unless
that batch says that only the rows have changed.

Not covered: a loss that creeps up (`alerts` tells of it), damage within `warmup_steps`, and without
`again` (methods that generate their rows) broken weights whose gradients are small.
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
_BEYOND_LARGEST = 3.0
"""Times the largest rise, or norm, of late."""
_FORGETS = 0.999
"""What is left of the largest rise and norm after another step."""
_BEYOND_RUN = 100.0
"""Times the largest norm of the run's sound steps."""


class Guard(Config):
    """When steps are discarded."""

    spike_sigmas: Annotated[float, Field(gt=0)] | None = 12.0
    """Deviations above the median that make a spike; none looks for NaN alone."""
    window_steps: Annotated[int, Field(ge=8)] = 64
    """Sound steps that a step is compared with."""
    warmup_steps: Annotated[int, Field(ge=1)] = 32
    """Sound steps before spikes are looked for; a smaller window is enough once it is full."""
    patience: Annotated[int, Field(ge=1)] = 3
    """So many discarded steps in a row take the run back to its last regular save."""
    max_discarded: Annotated[int, Field(ge=0)] = 12
    """So many discarded steps end the run."""

    @property
    def first_steps(self) -> int:
        """Sound steps that are taken unseen."""
        return min(self.warmup_steps, self.window_steps)


class GuardState(Record):
    """What is remembered of the steps before."""

    losses: tuple[float, ...] = ()
    """Of the window."""
    rise: float = 0.0
    """The largest rise above the window's median of late, nats."""
    norm: float = 0.0
    """The largest norm of late."""
    peak: float = 0.0
    """The largest norm of a sound step of the run."""
    bad: int = 0
    """Steps discarded in a row."""
    high: int = 0
    """Steps in a row whose loss was high and which were taken."""
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
    present weights, without gradients; it is called at most once, and only where the loss is high.
    Without it, weights are taken to be broken when patience is at its end.
    """
    if not math.isfinite(loss) or not math.isfinite(norm):
        return _discarded(guard, state, f"the loss is {loss} and the gradient's norm {norm}")
    if guard.spike_sigmas is None or len(state.losses) < guard.first_steps:
        return Verdict(_after(guard, state, loss, norm, batch), None, False)
    high = loss - median(state.losses) > _rise_allowed(guard, state)
    cause = _spike(state, loss, norm, high=high)
    if cause is not None:
        verdict = _discarded(guard, state, cause)
        if not verdict.back or _are_broken(guard, state, loss, again) is not False:
            return verdict
        return Verdict(_after(guard, GuardState(peak=state.peak), loss, norm, batch), None, False)
    if not high:
        return Verdict(_after(guard, state, loss, norm, batch), None, False)
    if _are_broken(guard, state, loss, again):
        return _discarded(guard, state, f"{_high(state, loss)}, and that of a batch before rose with it")
    if state.high + 1 >= guard.patience:
        return Verdict(_after(guard, GuardState(peak=state.peak), loss, norm, batch), None, False)
    return Verdict(state.model_copy(update={"bad": 0, "high": state.high + 1}), None, False)


def _after(guard: Guard, state: GuardState, loss: float, norm: float, batch: int | None) -> GuardState:
    """Remember a sound step."""
    rise = loss - median(state.losses) if state.losses else 0.0
    return GuardState(
        losses=(*state.losses, loss)[-guard.window_steps :],
        rise=max(_FORGETS * state.rise, rise),
        norm=max(_FORGETS * state.norm, norm),
        peak=max(state.peak, norm),
        sound=batch,
    )


def _discarded(guard: Guard, state: GuardState, cause: str) -> Verdict:
    bad = state.bad + 1
    return Verdict(state.model_copy(update={"bad": bad, "high": 0}), cause, bad >= guard.patience)


def _are_broken(
    guard: Guard, state: GuardState, loss: float, again: Callable[[int], float] | None
) -> bool | None:
    """Say whether the last sound batch's loss has risen along; none where nobody can tell."""
    if again is None or state.sound is None or not state.losses:
        return None
    middle = median(state.losses)
    # A loss that is no number compares as risen.
    return not again(state.sound) - middle <= max(_rise_allowed(guard, state), (loss - middle) / 2)


def _spike(state: GuardState, loss: float, norm: float, *, high: bool) -> str | None:
    """Say in which way a finite step is a spike, if it is one."""
    if norm > _BEYOND_RUN * state.peak:
        return (
            f"the gradient's norm {norm:.3g} is {_times(norm, state.peak)} times the run's largest before, "
            f"{state.peak:.3g}"
        )
    if high and norm > _BEYOND_LARGEST * state.norm:
        times = _times(norm, state.norm)
        return f"{_high(state, loss)}, and the gradient's norm {norm:.3g} {times} times the largest of late"
    return None


def _high(state: GuardState, loss: float) -> str:
    middle = median(state.losses)
    sigmas = _times(loss - middle, _deviation(state))
    return (
        f"the loss {loss:.3g} is {sigmas} sigmas above the median {middle:.3g} of {len(state.losses)} steps"
    )


def _rise_allowed(guard: Guard, state: GuardState) -> float:
    """Return how far above the window's median a loss may lie, in nats."""
    sigmas = (guard.spike_sigmas or math.inf) * _deviation(state)
    return max(sigmas, _BEYOND_LARGEST * state.rise, _LEAST_RISE)


def _deviation(state: GuardState) -> float:
    middle = median(state.losses)
    return _MAD_TO_SIGMA * median(abs(loss - middle) for loss in state.losses)


def _times(value: float, unit: float) -> str:
    """Write how often `unit` goes into `value`; a unit of nearly 0 gives no sensible figure."""
    return f"{value / unit:.0f}" if unit > value / 1000 else "over 1000"
