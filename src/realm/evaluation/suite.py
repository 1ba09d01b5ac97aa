"""A suite: the problems of one evaluation, named by what they are.

Two suites with one id hold the same problems in the same words, answered and graded in the same way, so
scores under one id may be compared, and a checkpoint need answer a suite only once. A suite file is
resolved into several of these, one for each level of each task: its parts.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, cast

from pydantic import Field

from realm.core.config import Config
from realm.core.hashing import hash_json, short
from realm.core.records import Record
from realm.evaluation.early import Early
from realm.evaluation.task import Elsewhere, HowAsked, Task
from realm.skills.skill import Problem, Skill

LEVEL = "level"
"""Kind of a suite that the curriculum asks: one level of a skill that the hero drills."""


ANSWER_TOKENS = 64
"""Room for an answer, where its problem does not need more."""


class Sampling(Config):
    """How answers are generated."""

    max_tokens: Annotated[int, Field(ge=1, le=32_768)] | None = None
    """Longest answer of one turn; a longer one is cut. None leaves room for the longest right answer."""
    temperature: Annotated[float, Field(ge=0, le=2)] = 0.0
    """0 takes the likeliest token, so that an answer is the same every time."""
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    seed: int = 0
    """Decides what is drawn above temperature 0."""

    @property
    def description(self) -> dict[str, str]:
        """Say how answers were generated, for records of what was measured."""
        how = f"temperature {self.temperature:g}, top_p {self.top_p:g}" if self.temperature else "greedy"
        return {"sampling": how, "seed": str(self.seed)}


class Suite(Record):
    """Problems of one task and level, with what is needed to ask them and to grade their answers."""

    id: str
    kind: str = LEVEL
    """`level`, or the kind of task of a suite file's part."""
    skill: str
    """The skill, or the name of the task in its suite file."""
    version: str
    """Version of the task."""
    task: dict[str, Any]
    """Config of the task, its `kind` included."""
    level: int
    """0 where there are none."""
    problems: tuple[Problem, ...]
    turn_tokens: Annotated[int, Field(ge=1)] = ANSWER_TOKENS
    """Room that a turn needs, beside what the longest right answer takes."""
    sampling: Sampling = Sampling()
    early: Early | None = None
    """When the rest need not be asked; None asks all of them."""

    @property
    def max_tokens(self) -> int:
        """Longest answer of one turn. A token is a byte at least, so no right answer is cut."""
        if self.sampling.max_tokens is not None:
            return self.sampling.max_tokens
        return max(self.turn_tokens, *(len(problem.expected.encode()) for problem in self.problems), 1)

    @property
    def conditions(self) -> dict[str, str]:
        """Say how answers are generated, for records of what was measured."""
        return {**self.sampling.description, "max_tokens": str(self.max_tokens)}


def build_suite(skill: Skill, level: int, per_primitive: int) -> Suite:
    """Return held-out problems of each testable primitive of a level."""
    return _of_skill(skill, level, skill.heldout(level, per_primitive), mark="")


def probe_suite(skill: Skill, level: int, per_primitive: int, *, seed: int) -> Suite:
    """Return training problems of each primitive of a level; the id says `probe` and the seed."""
    return _of_skill(skill, level, skill.probe(level, per_primitive, seed=seed), mark=f"-probe-s{seed}")


def drill_suite(skill: Skill, level: int, problems: tuple[Problem, ...], *, seed: int) -> Suite:
    """Return training problems that were drawn for one sparring; the id says `drill` and the seed."""
    return _of_skill(skill, level, problems, mark=f"-drill-s{seed}")


def _of_skill(skill: Skill, level: int, problems: tuple[Problem, ...], mark: str) -> Suite:
    config = skill.config.model_dump(mode="json")
    content = [skill.name, skill.version, _identity(skill.config), level, _plain(problems)]
    name = f"{skill.name}-{skill.version}-l{level}{mark}-{len(problems)}-{short(hash_json(content))}"
    task = {"kind": "skill", "skill": config, "levels": [level]}
    return Suite(id=name, skill=skill.name, version=skill.version, task=task, level=level, problems=problems)


def parts_of(name: str, task: Task, problems: Sequence[Problem], sampling: Sampling) -> tuple[Suite, ...]:
    """Return the problems of a task as one suite a level, lowest first.

    The sampling of a task that is asked elsewhere is its own.
    """
    kind = str(cast("Any", task.config).kind)
    config = task.config.model_dump(mode="json")
    how = Sampling() if isinstance(task, Elsewhere) else sampling
    parts = []
    for level in sorted({problem.level for problem in problems}):
        asked = tuple(problem for problem in problems if problem.level == level)
        content = [kind, task.version, _identity(task.config), level, _plain(asked)]
        digest = short(hash_json([*content, task.turn_tokens, how.model_dump(mode="json")]))
        mark = f"-l{level}" if level else ""
        parts.append(
            Suite(
                id=f"{name}-{kind}-{task.version}{mark}-{len(asked)}-{digest}",
                kind=kind,
                skill=name,
                version=task.version,
                task=config,
                level=level,
                problems=asked,
                turn_tokens=task.turn_tokens,
                sampling=how,
            )
        )
    return tuple(parts)


def ended_early(suite: Suite, early: Early) -> Suite:
    """Return the suite asked only until its verdict is certain; another id, so never taken for the whole."""
    digest = short(hash_json(early.model_dump(mode="json")))
    return suite.model_copy(update={"id": f"{suite.id}-early-{digest}", "early": early})


def _plain(problems: Sequence[Problem]) -> list[dict[str, Any]]:
    return [problem.model_dump(mode="json", exclude_defaults=True) for problem in problems]


def _identity(config: Config) -> dict[str, Any]:
    """Return what a config decides: where its files lie says nothing, what they hold is in the problems.

    Nor do settings marked `HOW_ASKED`; what they decide is in the context of what was measured.
    """
    found = config.model_dump(mode="json")
    fields = type(config).model_fields
    for name, value in config:
        marks = fields[name].metadata if name in fields else ()
        if isinstance(value, Path) or any(isinstance(mark, HowAsked) for mark in marks):
            del found[name]
        elif isinstance(value, Config):
            found[name] = _identity(value)
    return found
