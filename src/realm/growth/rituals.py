"""Checks of a training's health: each a pure function over facts, with what to do where it is not well.

A fact that nobody measured gives no check, and is named among the unknown. What must always be known is
not optional: whether the numbers stayed finite, what was trained was proven, everything asked was answered
and the bytes are the published ones. Where one of these says no, the figures mean nothing: critical.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Literal

from pydantic import Field

from realm.core.config import Config
from realm.core.records import Record

Status = Literal["ok", "warning", "failed", "critical"]
Count = Annotated[int, Field(ge=0)]
Loss = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class HealthConfig(Config):
    """Where a figure stops being healthy, and what that costs."""

    gradient_spike: Annotated[float, Field(gt=1)] = 20.0
    """Highest gradient norm over the median: a warning above it, failed above its tenfold."""
    gradient_least: Annotated[float, Field(ge=0)] = 1e-7
    """Median gradient norm at which nothing is learnt any more."""
    validation_ratio: Annotated[float, Field(gt=1)] = 1.5
    """Validation loss over training loss: a warning above it, failed above its double."""
    validation_gap: Annotated[float, Field(ge=0)] = 0.1
    """Nats a token; a smaller gap is healthy whatever the ratio."""
    drift_above: Annotated[float, Field(gt=0, le=1)] = 0.2
    """Drift of conventions: a warning above it, failed above its double."""
    warning_factor: Annotated[float, Field(ge=0, le=1)] = 0.95
    failed_factor: Annotated[float, Field(ge=0, le=1)] = 0.8
    """What each warning and each failed check multiplies a checkpoint's worth by."""


class HealthFacts(Record):
    """What is known of the training behind a checkpoint."""

    steps: Count
    steps_not_finite: Count
    """Steps whose loss or gradient was no finite number."""
    masking_proven: bool
    """The masking proof passed before the first step."""
    asked: Count
    answered: Count
    """Problems of its evaluations, and those that were answered."""
    checkpoint_verified: bool
    """Its files match the hashes they were published under."""
    gradient_median: Loss | None = None
    gradient_highest: Loss | None = None
    """Norms over the steps, before clipping."""
    rollbacks: Count | None = None
    """Times that the training went back to an earlier state."""
    alerts: Count | None = None
    """Alerts of the watch that were not about the machine."""
    training_loss: Loss | None = None
    validation_loss: Loss | None = None
    """Nats a trained token."""
    drift: Annotated[float, Field(ge=0, le=1)] | None = None
    """Of the conventions since the corpus was built."""


class HealthCheck(Record):
    """One check and its outcome."""

    id: str
    status: Status
    details: str
    """What was found, in figures."""
    remedy: str = ""
    """What to do; empty where all is well."""


class Health(Record):
    """All checks of one checkpoint."""

    checks: tuple[HealthCheck, ...]
    unknown: tuple[str, ...]
    """Ids of checks whose facts nobody measured."""
    factor: Annotated[float, Field(ge=0, le=1)]
    """0 after a critical check; otherwise the product over warnings and failures."""


def examine(facts: HealthFacts, config: HealthConfig | None = None) -> Health:
    """Make every check that the facts allow."""
    config = config or HealthConfig()
    found = {name: check(facts, config) for name, check in CHECKS.items()}
    checks = tuple(check for check in found.values() if check is not None)
    factor = 1.0
    for check in checks:
        factor *= _factor(check.status, config)
    unknown = tuple(name for name, check in found.items() if check is None)
    return Health(checks=checks, unknown=unknown, factor=factor)


def _factor(status: Status, config: HealthConfig) -> float:
    factors = {"ok": 1.0, "warning": config.warning_factor, "failed": config.failed_factor, "critical": 0.0}
    return factors[status]


def finite(facts: HealthFacts, config: HealthConfig) -> HealthCheck:
    """Check that every loss and gradient was a finite number, and that there was a step."""
    if not facts.steps:
        return _check("finite", "failed", "no step was taken", "train before judging")
    if facts.steps_not_finite:
        details = f"{facts.steps_not_finite} of {facts.steps} steps had a loss or gradient that is no number"
        return _check("finite", "critical", details, "go back to the last good checkpoint, lower the rate")
    return _check("finite", "ok", f"all {facts.steps} steps finite")


def masking(facts: HealthFacts, config: HealthConfig) -> HealthCheck:
    """Check that what was trained is what should have been."""
    if facts.masking_proven:
        return _check("masking", "ok", "the masking proof passed")
    return _check("masking", "critical", "nothing proves which tokens were trained", "train it again")


def evaluation(facts: HealthFacts, config: HealthConfig) -> HealthCheck:
    """Check that every problem was answered."""
    details = f"{facts.answered} of {facts.asked} problems answered"
    if facts.asked and facts.answered == facts.asked:
        return _check("evaluation", "ok", details)
    return _check("evaluation", "failed", details, "evaluate the checkpoint to the end")


def checkpoint(facts: HealthFacts, config: HealthConfig) -> HealthCheck:
    """Check that the files are the ones that were published."""
    if facts.checkpoint_verified:
        return _check("checkpoint", "ok", "its files match their hashes")
    return _check(
        "checkpoint", "critical", "its files do not match their hashes", "restore a copy, or drop it"
    )


def gradients(facts: HealthFacts, config: HealthConfig) -> HealthCheck | None:
    """Check that gradients neither vanish nor jump."""
    median, highest = facts.gradient_median, facts.gradient_highest
    if median is None or highest is None:
        return None
    if median <= config.gradient_least:
        details = f"the median gradient norm is {median:.2g}"
        return _check("gradients", "failed", details, "raise the learning rate, or stop: nothing is learnt")
    times = highest / median
    details = f"the highest gradient norm is {times:.3g} times the median"
    status = _level(times, config.gradient_spike, 10 * config.gradient_spike)
    return _check("gradients", status, details, "clip harder, or look at the rows of that step")


def rollbacks(facts: HealthFacts, config: HealthConfig) -> HealthCheck | None:
    """Check that the training never had to go back."""
    if facts.rollbacks is None:
        return None
    status: Status = "failed" if facts.rollbacks else "ok"
    return _check("rollbacks", status, f"{facts.rollbacks} rollbacks", "lower the learning rate")


def alerts(facts: HealthFacts, config: HealthConfig) -> HealthCheck | None:
    """Check that the watch saw nothing."""
    if facts.alerts is None:
        return None
    return _check("alerts", "warning" if facts.alerts else "ok", f"{facts.alerts} alerts", "read them")


def validation(facts: HealthFacts, config: HealthConfig) -> HealthCheck | None:
    """Check that what was never trained is predicted about as well as what was."""
    trained, held_out = facts.training_loss, facts.validation_loss
    if trained is None or held_out is None:
        return None
    details = f"validation loss {held_out:.3g}, training loss {trained:.3g}"
    if held_out - trained <= config.validation_gap:
        return _check("validation", "ok", details)
    ratio = held_out / trained if trained else float("inf")
    status = _level(ratio, config.validation_ratio, 2 * config.validation_ratio)
    return _check("validation", status, details, "fewer passes over the same rows, or more rows")


def conventions(facts: HealthFacts, config: HealthConfig) -> HealthCheck | None:
    """Check that what was taught still holds."""
    if facts.drift is None:
        return None
    status = _level(facts.drift, config.drift_above, 2 * config.drift_above)
    return _check("conventions", status, f"drift {facts.drift:.3g}", "collect again and retrain")


def _level(value: float, warning: float, failed: float) -> Status:
    if value > failed:
        return "failed"
    return "warning" if value > warning else "ok"


def _check(id: str, status: Status, details: str, remedy: str = "") -> HealthCheck:
    return HealthCheck(id=id, status=status, details=details, remedy="" if status == "ok" else remedy)


CHECKS: dict[str, Callable[[HealthFacts, HealthConfig], HealthCheck | None]] = {
    "finite": finite,
    "masking": masking,
    "evaluation": evaluation,
    "checkpoint": checkpoint,
    "gradients": gradients,
    "rollbacks": rollbacks,
    "alerts": alerts,
    "validation": validation,
    "conventions": conventions,
}
