"""How the learning rate moves over steps, as a factor between 0 and 1.

`position` counts the steps taken before this one, from 0, on the clock that the schedule names:
the run's own, or the hero's whole life. All schedules rise linearly over the warm-up,
factor = (position + 1) / warmup_steps. `constant` stays there; the others reach `floor` `horizon_steps`
after it.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from realm.core.config import Config
from realm.core.errors import NotFoundError
from realm.core.kinds import Choice
from realm.training.rules import LARGEST_COUNT, Count


class _Rising(Config):
    clock: Literal["run", "hero"] = "run"
    """Whose steps count: this run's, or all that the hero ever took."""
    warmup_steps: Annotated[int, Field(ge=0, le=LARGEST_COUNT)] = 0
    """Steps over which the rate rises in a straight line to the full one."""


class Constant(_Rising):
    """Rise, then stay at the full rate."""

    kind: Literal["constant"] = "constant"

    def factor(self, position: int, steps_total: int) -> float:
        """Return the share of the full learning rate for this step."""
        return _warmup(position, self.warmup_steps)


class _Falling(_Rising):
    horizon_steps: Count | None = None
    """Steps from the end of the warm-up to the floor; none means the end of the run."""
    floor: Annotated[float, Field(ge=0, le=1)] = 0.0
    """The factor it ends at, a share of the full rate."""

    @model_validator(mode="after")
    def _hero_clock_has_a_horizon(self) -> Self:
        if self.clock == "hero" and self.horizon_steps is None:
            raise ValueError("on the hero's clock horizon_steps must be given")
        return self

    def factor(self, position: int, steps_total: int) -> float:
        """Return the share of the full learning rate for this step."""
        horizon = self.horizon_steps or max(1, steps_total - self.warmup_steps)
        progress = min(1.0, max(0.0, (position - self.warmup_steps) / horizon))
        fall = self._fall(progress, horizon)
        return _warmup(position, self.warmup_steps) * (self.floor + (1 - self.floor) * fall)

    @abstractmethod
    def _fall(self, progress: float, horizon: int) -> float:
        """Fall from 1 at progress 0 to 0 at progress 1."""


class Linear(_Falling):
    """Rise, then fall in a straight line: fall(p) = 1 - p."""

    kind: Literal["linear"] = "linear"

    def _fall(self, progress: float, horizon: int) -> float:
        return 1 - progress


class Cosine(_Falling):
    """Rise, then fall along half a cosine: fall(p) = (1 + cos πp) / 2."""

    kind: Literal["cosine"] = "cosine"

    def _fall(self, progress: float, horizon: int) -> float:
        return (1 + math.cos(math.pi * progress)) / 2


class Wsd(_Falling):
    """Warm up, stay stable, decay in a straight line over the last `decay_steps`.

    A run that is shorter than these decays from the end of its warm-up.
    """

    kind: Literal["wsd"] = "wsd"
    decay_steps: Count
    """Steps at the end of the horizon over which the rate falls."""

    @model_validator(mode="after")
    def _decays_within_the_horizon(self) -> Self:
        if self.horizon_steps is not None and self.decay_steps > self.horizon_steps:
            raise ValueError(
                f"decay_steps ({self.decay_steps}) lie within horizon_steps ({self.horizon_steps}): "
                "more of them never reach the full rate"
            )
        return self

    def _fall(self, progress: float, horizon: int) -> float:
        return min(1.0, (1 - progress) * horizon / min(self.decay_steps, horizon))


def _spelt_out(data: Any) -> Any:
    """Return a bare name as the mapping it is short for, as families have it."""
    return {"kind": data} if isinstance(data, str) else data


def _model(kind: str) -> type[Config]:
    for each in (Constant, Linear, Cosine, Wsd):
        if each.model_fields["kind"].default == kind:
            return each
    raise NotFoundError(f"no schedule is called {kind!r}")


Schedule = Annotated[
    Constant | Linear | Cosine | Wsd, Field(discriminator="kind"), Choice(_spelt_out, model=_model)
]


def _warmup(position: int, warmup_steps: int) -> float:
    return min(1.0, (position + 1) / warmup_steps) if warmup_steps else 1.0
