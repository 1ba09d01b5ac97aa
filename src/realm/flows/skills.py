"""Where a hero stands in a skill: read from the ledger, begun when it is new."""

from __future__ import annotations

from realm.core.records import Fence
from realm.flows.context import Lab
from realm.ledger.records import SkillRecord
from realm.skills.curriculum.rules import SkillState, begin


def skill_state(lab: Lab, name: str) -> SkillState:
    """Return the stored state of a skill, or the state it begins with."""
    record = lab.ledger.skills.get(lab.campaign, _key(lab, name))
    if record is None:
        return begin(lab.skill(name), lab.config.curriculum)
    return SkillState.model_validate(record.state)


def store_skill_state(lab: Lab, name: str, state: SkillState, fence: Fence | None) -> None:
    """Write the state of a skill."""
    lab.ledger.skills.put(
        SkillRecord(
            campaign=lab.campaign,
            skill=_key(lab, name),
            state=state.model_dump(mode="json"),
            updated_at=lab.clock(),
        ),
        fence,
    )


def mastered_levels(lab: Lab) -> dict[str, int]:
    """Return the highest mastered level of each skill; skills without one are left out."""
    states = {name: skill_state(lab, name) for name in lab.hero.skills}
    return {name: state.mastered_level for name, state in states.items() if state.mastered_level > 0}


def enabled_skills(lab: Lab) -> list[str]:
    """Return the hero's skills that are drilled, in the order of its config."""
    return [name for name in lab.hero.skills if lab.config.curriculum.of(name).enabled]


def _key(lab: Lab, name: str) -> str:
    return f"{lab.hero_name}/{name}"
