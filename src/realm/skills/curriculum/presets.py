"""Presets: whole settings of the curriculum under one name, as differences from `balanced`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from realm.core.records import Record

PresetName = Literal[
    "balanced",
    "focus-weakest",
    "exam",
    "sprint",
    "marathon",
    "catch-up",
    "review-heavy",
    "preview-heavy",
]


class Preset(Record):
    """Settings that go together, and what they are good for."""

    purpose: str
    settings: dict[str, Any]
    """What differs from the defaults of `CurriculumConfig`."""


PRESETS: Mapping[PresetName, Preset] = {
    "balanced": Preset(
        purpose="the defaults: every skill gets the same rows, and so do a level and the three above it",
        settings={},
    ),
    "focus-weakest": Preset(
        purpose="one skill and its weak primitives get most of the rows",
        settings={"strategy": "focus", "base_weight": 0.1, "error_weight": 6.0},
    ),
    "exam": Preset(
        purpose="a level counts only when it is known well: more problems, more right answers",
        settings={
            "threshold": 0.9,
            "problems_per_primitive": 80,
            "probe_per_primitive": 40,
            "recheck_runs": 4,
        },
    ),
    "sprint": Preset(
        purpose="levels fast: two passes are enough, most rows go to the level and what is weak there",
        settings={
            "evaluations": 2,
            "preview_weight": 0.25,
            "preview_levels": 2,
            "base_weight": 0.1,
            "error_weight": 3.0,
            "recheck_runs": 12,
        },
    ),
    "marathon": Preset(
        purpose="slow and lasting: five passes, much is repeated and asked again",
        settings={"evaluations": 5, "replay_share": 0.3, "preview_levels": 2, "recheck_runs": 4},
    ),
    "catch-up": Preset(
        purpose="skills that are levels behind the best one get more rows",
        settings={"strategy": "catch_up"},
    ),
    "review-heavy": Preset(
        purpose="against forgetting: two fifths of the rows repeat mastered levels",
        settings={"replay_share": 0.4, "preview_levels": 1, "recheck_runs": 4},
    ),
    "preview-heavy": Preset(
        purpose="against learning small levels by heart: most of the rows come from six levels above",
        settings={"replay_share": 0.1, "preview_levels": 6},
    ),
}
