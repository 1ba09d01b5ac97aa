"""A suite: the problems of one evaluation, named by what they are.

Two suites with one id hold the same problems in the same words, so scores under one id may be
compared, and a checkpoint need answer a suite only once.
"""

from __future__ import annotations

from typing import Any

from realm.core.hashing import hash_json, short
from realm.core.records import Record
from realm.skills.skill import Problem, Skill


class Suite(Record):
    """Problems of one skill and level, with what is needed to grade their answers."""

    id: str
    skill: str
    version: str
    """Version of the skill."""
    config: dict[str, Any]
    """Config of the skill, its `kind` included."""
    level: int
    problems: tuple[Problem, ...]


def build_suite(skill: Skill, level: int, per_primitive: int) -> Suite:
    """Return held-out problems of each testable primitive of a level."""
    return _suite(skill, level, skill.heldout(level, per_primitive), mark="")


def probe_suite(skill: Skill, level: int, per_primitive: int, *, seed: int) -> Suite:
    """Return training problems of each primitive of a level; the id says `probe` and the seed."""
    return _suite(skill, level, skill.probe(level, per_primitive, seed=seed), mark=f"-probe-s{seed}")


def _suite(skill: Skill, level: int, problems: tuple[Problem, ...], mark: str) -> Suite:
    config = skill.config.model_dump(mode="json")
    content = [skill.name, skill.version, config, level, [p.model_dump(mode="json", exclude_defaults=True) for p in problems]]
    name = f"{skill.name}-{skill.version}-l{level}{mark}-{len(problems)}-{short(hash_json(content))}"
    return Suite(
        id=name, skill=skill.name, version=skill.version, config=config, level=level, problems=problems
    )
