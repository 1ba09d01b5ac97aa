"""The ways to drill that a trial compares: strategies and presets, each as a whole curriculum."""

from __future__ import annotations

from realm.core.config import validate
from realm.core.errors import NotFoundError, UsageError
from realm.core.hashing import canonical_json
from realm.flows.context import Lab
from realm.flows.skills import drilled_skills
from realm.skills.curriculum.config import CurriculumConfig
from realm.skills.curriculum.presets import PRESETS
from realm.skills.curriculum.strategies import STRATEGIES


def way(lab: Lab, name: str) -> CurriculumConfig:
    """Return the curriculum that a strategy or a preset means here. Raises NotFoundError.

    A strategy changes nothing else of the lab's settings; a preset keeps those of single skills alone.
    """
    own = lab.config.curriculum
    if name in STRATEGIES:
        return own.model_copy(update={"strategy": name})
    if name in PRESETS:
        return validate(CurriculumConfig, {"preset": name, "skills": own.skills}, where=f"preset {name}")
    raise NotFoundError(
        f"{name!r} is neither a strategy nor a preset",
        hint=f"there are: {', '.join([*STRATEGIES, *PRESETS])}",
    )


def two_ways(lab: Lab, a: str, b: str) -> tuple[CurriculumConfig, CurriculumConfig]:
    """Return the curricula of both sides of a trial. UsageError where they cannot differ, NotFoundError."""
    one, other = way(lab, a), way(lab, b)
    if _settings(one) == _settings(other):
        why = "both are the same settings here"
    elif _effect(lab, one) == _effect(lab, other):
        why = f"they spread rows over skills, and {lab.hero_name}'s skills would get the same from both"
    else:
        return one, other
    raise UsageError(
        f"{a} against {b} compares nothing: {why}",
        hint="`realm curriculum presets` says what each one changes",
    )


def _settings(config: CurriculumConfig) -> str:
    return canonical_json(config.model_dump(mode="json", exclude={"preset"}))


def _effect(lab: Lab, config: CurriculumConfig) -> str:
    """Return the settings, with strategies that always give the skills the same called by one name."""
    weights = {config.of(name).weight for name in drilled_skills(lab)}
    even = config.strategy == "weighted" and len(weights) == 1
    if len(drilled_skills(lab)) == 1 or even:
        config = config.model_copy(update={"strategy": "equal"})
    return _settings(config)
