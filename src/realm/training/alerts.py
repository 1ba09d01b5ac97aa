"""What a person should look at while a run goes on: plateau, divergence, overfitting, stall.

Pure rules over what was measured. Each alert is told once an episode: not again before what it told
of has ended. The loss is averaged over blocks of `window_steps / 20` steps; a least-squares line
through the blocks, with the standard error of its slope, says whether it falls or rises beyond
noise. No alert changes anything about the run.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import fmean, median
from typing import Annotated, Literal

from pydantic import Field

from realm.core.config import Config
from realm.core.records import Record

Kind = Literal["plateau", "divergence", "overfitting", "stall"]

_BLOCKS = 20
_FALLS = -2.0
"""Standard errors of the slope: a loss that falls less surely stands still."""
_RISES = 4.0
"""Standard errors of the slope beyond which a loss rises."""
_STEPS_TIMED = 32


class Alerts(Config):
    """Which alerts are raised, and when."""

    enabled: bool = True
    """Whether any are raised."""
    window_steps: Annotated[int, Field(ge=_BLOCKS, multiple_of=_BLOCKS)] = 400
    """Steps over which a loss that does not fall is a plateau; half of them show a divergence."""
    rise_share: Annotated[float, Field(gt=0)] = 0.1
    """A loss that rose by less of itself has not diverged."""
    validations: Annotated[int, Field(ge=1)] = 3
    """Measurements in a row above the lowest validation loss that make overfitting."""
    validation_share: Annotated[float, Field(ge=0)] = 0.01
    """How far above the lowest they must lie, relative to it."""
    stall_times: Annotated[float, Field(gt=1)] = 10.0
    """A step that takes so many times the median of the last 32 has stalled."""
    stall_s: Annotated[float, Field(ge=0)] = 60.0
    """No step that took less has stalled, seconds."""


class Alert(Record):
    """One thing to look at."""

    kind: Kind
    what: str
    hint: str


class Best(Record):
    """The lowest validation loss of a set, and what followed."""

    loss: float
    step: int
    training: float
    """The training loss around that step."""
    above: int = 0
    """Measurements since then that lay above it."""


class AlertState(Record):
    """What is remembered of a run; a function of its events alone."""

    blocks: tuple[float, ...] = ()
    """Mean losses of the last blocks of steps."""
    begun: tuple[float, ...] = ()
    """Losses of the block that is not full yet."""
    best: dict[str, Best] = Field(default_factory=dict)
    seconds: tuple[float, ...] = ()
    """What the last steps took."""
    raised: frozenset[str] = frozenset()
    """Alerts whose episode goes on; overfitting with the set's name."""


def after_step(
    alerts: Alerts, state: AlertState, loss: float, seconds: float
) -> tuple[AlertState, tuple[Alert, ...]]:
    """Take a step's loss and duration; return what is new to look at."""
    if not alerts.enabled:
        return state, ()
    begun, blocks = (*state.begun, loss), state.blocks
    full = len(begun) == alerts.window_steps // _BLOCKS
    if full:
        begun, blocks = (), (*blocks, fmean(begun))[-_BLOCKS:]
    raised = state.raised - {"stall"}
    state = state.model_copy(
        update={
            "begun": begun,
            "blocks": blocks,
            "seconds": (*state.seconds, seconds)[-_STEPS_TIMED:],
            "raised": raised,
        }
    )
    return _episodes(state, _curve_alerts(alerts, blocks)) if full else (state, ())


def after_validation(
    alerts: Alerts, state: AlertState, step: int, losses: Mapping[str, float]
) -> tuple[AlertState, tuple[Alert, ...]]:
    """Take the validation losses of each set; return what is new to look at."""
    training = _recent(state)
    if not alerts.enabled or training is None:
        return state, ()
    best, found = dict(state.best), dict[str, Alert | None]()
    for name, loss in losses.items():
        before = best.get(name)
        if before is None or loss < before.loss:
            best[name] = Best(loss=loss, step=step, training=training)
            found[f"overfitting/{name}"] = None
            continue
        high = loss > before.loss * (1 + alerts.validation_share) and training < before.training
        best[name] = before.model_copy(update={"above": before.above + 1 if high else 0})
        if best[name].above >= alerts.validations:
            found[f"overfitting/{name}"] = _overfitting(name, loss, before, training)
    return _episodes(state.model_copy(update={"best": best}), found)


def while_waiting(alerts: Alerts, state: AlertState, waited_s: float) -> tuple[AlertState, tuple[Alert, ...]]:
    """Take how long the step that goes on has taken so far; return what is new to look at."""
    if not alerts.enabled or not state.seconds:
        return state, ()
    usual = median(state.seconds)
    if waited_s < max(alerts.stall_times * usual, alerts.stall_s):
        return state, ()
    alert = Alert(
        kind="stall",
        what=f"no step for {waited_s:.0f} s; the last {len(state.seconds)} took {usual:.3g} s each (median)",
        hint="look for other work on this machine, swapping or a full disk; a stopped run can go on later",
    )
    return _episodes(state, {"stall": alert})


def _episodes(state: AlertState, found: Mapping[str, Alert | None]) -> tuple[AlertState, tuple[Alert, ...]]:
    """Return the alerts whose episode begins; none in place of an alert ends its episode."""
    new = tuple(alert for key, alert in found.items() if alert is not None and key not in state.raised)
    over = {key for key, alert in found.items() if alert is None}
    goes_on = {key for key, alert in found.items() if alert is not None}
    return state.model_copy(update={"raised": frozenset((state.raised - over) | goes_on)}), new


def _curve_alerts(alerts: Alerts, blocks: Sequence[float]) -> dict[str, Alert | None]:
    """Look at the curve at the end of a block; divergence is not a plateau as well."""
    half = blocks[-_BLOCKS // 2 :]
    steps = alerts.window_steps // _BLOCKS
    if len(half) < _BLOCKS // 2:
        return {}
    slope, error = _line(half)
    rise = slope * (len(half) - 1)
    up = slope > _RISES * error and rise > alerts.rise_share * abs(fmean(half) - rise / 2)
    found = {"divergence": _divergence(half, steps) if up else None}
    # A loss that has begun to rise does not stand still, even before the rise is sure.
    if len(blocks) == _BLOCKS and slope <= -_FALLS * error:
        slope, error = _line(blocks)
        found["plateau"] = _plateau(blocks, steps) if slope >= _FALLS * error else None
    return found


def _line(values: Sequence[float]) -> tuple[float, float]:
    """Return the least-squares slope and its standard error."""
    n = len(values)
    centre, mean = (n - 1) / 2, fmean(values)
    spread = math.fsum((i - centre) ** 2 for i in range(n))
    slope = math.fsum((i - centre) * (value - mean) for i, value in enumerate(values)) / spread
    rest = math.fsum((value - mean - slope * (i - centre)) ** 2 for i, value in enumerate(values))
    return slope, math.sqrt(rest / (n - 2) / spread)


def _recent(state: AlertState) -> float | None:
    """Return the training loss of late: of the last full block and the one begun."""
    values = (*state.blocks[-1:], *([fmean(state.begun)] if state.begun else []))
    return fmean(values) if values else None


def _plateau(blocks: Sequence[float], steps: int) -> Alert:
    return Alert(
        kind="plateau",
        what=f"the loss stands at {fmean(blocks):.4g} and has not fallen beyond noise for "
        f"{len(blocks) * steps} steps",
        hint="it may have learnt what these rows teach: stop here, lower the learning rate, or add rows",
    )


def _divergence(half: Sequence[float], steps: int) -> Alert:
    return Alert(
        kind="divergence",
        what=f"the loss rose from {half[0]:.4g} to {half[-1]:.4g} within {len(half) * steps} steps",
        hint="go on from an earlier checkpoint with a lower learning rate or a longer warm-up",
    )


def _overfitting(name: str, loss: float, best: Best, training: float) -> Alert:
    return Alert(
        kind="overfitting",
        what=f"the loss of {name} rose to {loss:.4g} from its lowest, {best.loss:.4g} at step {best.step}, "
        f"while that of training fell from {best.training:.4g} to {training:.4g}",
        hint=f"prefer the checkpoint near step {best.step}; train fewer epochs or on more rows",
    )
