"""Where a hero stands in a skill: read from the ledger, begun when it is new."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import NamedTuple

from realm.core.records import Fence, Record
from realm.flows.context import Lab
from realm.ledger.records import SkillRecord
from realm.skills.curriculum.rules import SkillState, begin, mastered_numbers, why_unusable


class LeftOut(Record):
    """A skill that is neither drilled nor evaluated because no level of it can be mastered."""

    skill: str
    reason: str


class Parted(NamedTuple):
    """Some skills of a hero; looking at one that was never evaluated takes time, so look once."""

    usable: list[str]
    left_out: tuple[LeftOut, ...]


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
    known = [name for name in lab.hero.skills if lab.ledger.skills.get(lab.campaign, _key(lab, name))]
    states = {name: skill_state(lab, name) for name in known}
    return {name: state.mastered_level for name, state in states.items() if state.mastered_level > 0}


def mastered_of(lab: Lab, name: str) -> list[int]:
    """Return the mastered levels of a skill, lowest first."""
    return mastered_numbers(lab.config.curriculum, lab.skill(name), skill_state(lab, name))


def enabled_skills(lab: Lab) -> list[str]:
    """Return the hero's skills that are switched on, in the order of its config."""
    return [name for name in lab.hero.skills if lab.config.curriculum.of(name).enabled]


def drilled_skills(lab: Lab) -> list[str]:
    """Return the skills that are switched on and not left out. Raises ConfigError where none is left."""
    return usable_skills(lab, enabled_skills(lab))


def usable_skills(lab: Lab, names: Collection[str]) -> list[str]:
    """Return those of these skills that are not left out. Raises ConfigError where none is left."""
    return parted(lab, names).usable


def parted(lab: Lab, names: Collection[str]) -> Parted:
    """Part skills into those that are used and those left out. Raises ConfigError where none is left."""
    found = left_out(lab, names)
    without = {each.skill for each in found}
    if without and without == set(names):
        skill_state(lab, min(without))  # says what is wrong with it
    return Parted([name for name in names if name not in without], found)


def left_out(lab: Lab, names: Iterable[str]) -> tuple[LeftOut, ...]:
    """Return those of these skills of which no level can be mastered, each with the reason."""
    found = ((name, _why_left_out(lab, name)) for name in names)
    return tuple(LeftOut(skill=name, reason=why) for name, why in found if why is not None)


def _why_left_out(lab: Lab, name: str) -> str | None:
    """Say what is wrong with a skill; one that has been evaluated stays, whatever it holds now."""
    if lab.ledger.skills.get(lab.campaign, _key(lab, name)) is not None:
        return None
    return why_unusable(lab.skill(name), lab.config.curriculum)


def _key(lab: Lab, name: str) -> str:
    return f"{lab.hero_name}/{name}"
