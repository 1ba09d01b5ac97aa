"""When a level is mastered, and how drills are spread over skills, levels and primitives."""

from realm.skills.curriculum.config import CurriculumConfig
from realm.skills.curriculum.mixing import drill_weights, mix
from realm.skills.curriculum.rules import LevelScore, SkillState, after_evaluation, begin

__all__ = [
    "CurriculumConfig",
    "LevelScore",
    "SkillState",
    "after_evaluation",
    "begin",
    "drill_weights",
    "mix",
]
