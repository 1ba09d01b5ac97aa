"""What share of right answers is enough: one rule for mastering a level and for passing the gate."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from realm.core.config import Config


class Threshold(Config):
    """A share over all primitives together, and one that each of them must reach."""

    threshold: Annotated[float, Field(gt=0, le=1)] = 0.80
    """Share of right answers over all tested primitives together."""
    primitive_floor: Annotated[float, Field(ge=0, le=1)] | None = None
    """Share each tested primitive must reach; none means 0.05 below the threshold."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.primitive_floor is not None and self.primitive_floor > self.threshold:
            raise ValueError("primitive_floor is above threshold")
        return self

    @property
    def floor(self) -> float:
        """Share of right answers each tested primitive must reach."""
        if self.primitive_floor is not None:
            return self.primitive_floor
        return max(0.0, round(self.threshold - 0.05, 9))
