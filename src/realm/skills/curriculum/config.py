"""Settings of the curriculum: the `curriculum` section of `realm.yaml`."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from realm.core.config import Config
from realm.core.records import Name
from realm.skills.curriculum.presets import PRESETS, PresetName
from realm.skills.curriculum.strategies import StrategyName
from realm.skills.threshold import Threshold

REMEMBERED = 64
"""Newest checkpoints of the training level that are known to have counted."""


class SkillSettings(Config):
    """How much one skill is drilled, beside the others of its hero."""

    enabled: bool = True
    """Whether it is drilled and evaluated; what is mastered is still asked by the gate."""
    priority: Annotated[int, Field(ge=-100, le=100)] = 0
    """Skills of higher priority are drilled first, and `focus` prefers them."""
    weight: Annotated[float, Field(gt=0, le=1000)] = 1.0
    """Share of the rows relative to other skills, under the strategy `weighted`."""


class CurriculumConfig(Threshold):
    """What it takes to master a level, and how drills are spread."""

    preset: PresetName = "balanced"
    """Settings that go together; what else is set here wins over them."""
    strategy: StrategyName = "equal"
    """How the rows are spread over the hero's skills."""
    skills: dict[Name, SkillSettings] = Field(default_factory=dict)
    """Settings of single skills, by their name."""
    evaluations: Annotated[int, Field(ge=1, le=REMEMBERED)] = 3
    """Passes in a row, by different checkpoints, that master a level."""
    problems_per_primitive: Annotated[int, Field(ge=1)] = 40
    """Held-out problems asked of each primitive, where there are as many; more of few primitives, so
    that a level is asked `minimum_total`."""
    minimum_total: Annotated[int, Field(ge=1)] = 100
    """Fewer answers than this at a level are no evaluation."""
    minimum_per_primitive: Annotated[int, Field(ge=1)] = 30
    """Fewer answers than this of a primitive are no evaluation of it."""
    replay_share: Annotated[float, Field(ge=0, lt=1)] = 0.1875
    """Share of drill rows that repeats mastered levels."""
    preview_weight: Annotated[float, Field(ge=0, le=1)] = 1.0
    """Rows of each level above that is previewed, relative to those of the training level."""
    preview_levels: Annotated[int, Field(ge=0)] = 3
    """How many levels above the training level are previewed."""
    base_weight: Annotated[float, Field(gt=0)] = 1.0
    """Drill weight of a primitive without errors."""
    error_weight: Annotated[float, Field(ge=0)] = 1.0
    """Drill weight added to a primitive that is always wrong; in proportion below."""
    probe_per_primitive: Annotated[int, Field(ge=1)] = 24
    """Training problems of each primitive asked to measure weakness."""
    recheck_runs: Annotated[int, Field(ge=0)] = 8
    """Mastered levels are asked again after so many drill runs; 0 leaves that to the gate."""
    lost_evaluations: Annotated[int, Field(ge=1, le=REMEMBERED)] = 2
    """Fails in a row, by different checkpoints, that lose a mastered level."""
    lost_share: Annotated[float, Field(ge=0, lt=1)] = 0.3
    """Share of the rows beside replay that lost levels get on top of it."""
    demote: bool = False
    """Whether a lost level becomes the training level again; otherwise it is repeated more."""

    @model_validator(mode="before")
    @classmethod
    def _preset(cls, data: Any) -> Any:
        name = data.get("preset") if isinstance(data, dict) else None
        chosen = next((preset for known, preset in PRESETS.items() if known == name), None)
        return data if chosen is None else {**chosen.settings, **data}

    @model_validator(mode="after")
    def _reachable(self) -> Self:
        if self.problems_per_primitive < self.minimum_per_primitive:
            raise ValueError("problems_per_primitive is below minimum_per_primitive, so nothing could pass")
        return self

    def of(self, skill: str) -> SkillSettings:
        """Return the settings of one skill."""
        return self.skills.get(skill, SkillSettings())
