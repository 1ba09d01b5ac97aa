"""What a checkpoint is worth after its training: effort times quality times health, and a verdict."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from realm.core.config import Config
from realm.core.records import Record
from realm.growth.rituals import Health
from realm.growth.rules import Share

Verdict = Literal["strong", "partial", "weak"]


class AppraisalConfig(Config):
    """Which worth earns which verdict."""

    strong: Annotated[float, Field(gt=0, le=1)] = 0.8
    partial: Annotated[float, Field(ge=0, le=1)] = 0.4

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.partial > self.strong:
            raise ValueError("partial is above strong")
        return self


class Appraisal(Record):
    """What became of a stretch of training."""

    effort: Annotated[float, Field(ge=0)]
    """Σ max(0, loss - floor) over its steps, nats · steps."""
    quality: Share
    """0.6·accuracy + 0.2·coverage + 0.2·(trend+1)/2."""
    factor: Share
    """Of the health checks."""
    worth: Share
    """quality · factor; what the verdict goes by."""
    experience: Annotated[float, Field(ge=0)]
    """effort · quality · factor."""
    verdict: Verdict
    health: Health


def appraise(
    effort: float, quality: float, health: Health, config: AppraisalConfig | None = None
) -> Appraisal:
    """Judge a checkpoint by the effort behind it (`rules.effort`), its quality and its health.

    Verdict by worth: from 0.8 on strong, from 0.4 on partial, else weak. A critical health check makes
    worth and experience 0.
    """
    config = config or AppraisalConfig()
    quality = min(1.0, quality)  # the weighted sum may exceed 1 by a rounding error
    worth = quality * health.factor
    return Appraisal(
        effort=effort,
        quality=quality,
        factor=health.factor,
        worth=worth,
        experience=effort * worth,
        verdict=_verdict(worth, config),
        health=health,
    )


def _verdict(worth: float, config: AppraisalConfig) -> Verdict:
    if worth >= config.strong:
        return "strong"
    return "partial" if worth >= config.partial else "weak"
