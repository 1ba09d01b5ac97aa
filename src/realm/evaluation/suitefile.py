"""Suite files: which tasks a suite asks, what each counts, and what is enough.

`suites/NAME.yaml` of a realm comes before a suite of that name that ships. Resolving a suite gives its
parts, one for each level of each task; a part is what a checkpoint answers once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Self

import yaml
from pydantic import Field, SerializeAsAny, model_validator

from realm.core.config import Config, read_yaml, rooted, validate
from realm.core.errors import ConfigError, NotFoundError
from realm.core.events import Graded
from realm.core.records import Name, Record
from realm.evaluation.early import PASSES, Early
from realm.evaluation.score import (
    Scoring,
    SuiteScore,
    TaskScore,
    composite,
    decided,
    share,
)
from realm.evaluation.suite import Sampling, Suite, ended_early, parts_of
from realm.evaluation.task import TASKS, Size, is_elsewhere

TaskConfig = Annotated[SerializeAsAny[Config], TASKS.part()]
Threshold = Annotated[float, Field(gt=0, le=1)]


class Drilled(Config):
    """Every skill that the hero drills, in the form in which it drills it."""

    levels: tuple[Annotated[int, Field(ge=1)], ...] = ()
    """Levels that are asked; none named means all with testable primitives."""
    rungs: Annotated[int, Field(ge=1)] | None = None
    """At most so many of them, evenly spread from the lowest to the highest."""


def _own_scoring(entry: dict[str, Any]) -> Scoring:
    """Return the scoring of a task that names none, from what is valid of its entry."""
    task = entry.get("task")
    return "graded" if task is not None and is_elsewhere(task) else "binary"


class TaskEntry(Config):
    """One task of a suite, and what it counts."""

    name: Name
    task: TaskConfig | None = None
    """What is asked."""
    drilled: Drilled | None = None
    """Instead of one task: one for each skill of the hero, named after it."""
    category: Annotated[str, Field(min_length=1, max_length=100)] = "general"
    """What tasks are shown together under."""
    weight: Annotated[float, Field(gt=0, le=1000)] = 1.0
    """Share of the composite, relative to the other tasks."""
    threshold: Threshold | None = None
    """Mean score that the task must reach; none means that only the composite counts."""
    scoring: Scoring = Field(default_factory=_own_scoring)
    """`binary` counts wholly right answers, `graded` what answers are worth (shown as 0 to 100)."""
    max_tokens: Annotated[int, Field(ge=1, le=32_768)] | None = None
    """Longest answer of one turn; none means the suite's."""

    @model_validator(mode="after")
    def _one_question(self) -> Self:
        if (self.task is None) == (self.drilled is None):
            raise ValueError("a task has either task or drilled")
        return self

    @model_validator(mode="after")
    def _reaches(self) -> Self:
        if self.task is None or not is_elsewhere(self.task):
            return self
        if self.scoring == "binary":
            raise ValueError("a benchmark's figure is never right or wrong: leave scoring out, or graded")
        if self.max_tokens is not None:
            raise ValueError("a benchmark asks in its own way: max_tokens does not reach it")
        return self


class SuiteConfig(Config):
    """A suite file."""

    name: Name
    version: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,32}$")] = "1"
    title: str = ""
    size: Size = "lite"
    """Problems of each primitive: 5 (lite) or 30 (full)."""
    threshold: Threshold = 0.8
    """Composite score that passes."""
    sampling: Sampling = Sampling()
    """How answers are generated."""
    tasks: Annotated[tuple[TaskEntry, ...], Field(min_length=1, max_length=1000)]

    @model_validator(mode="after")
    def _named_once(self) -> Self:
        names = [entry.name for entry in self.tasks]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"two tasks are called {twice[0]}")
        return self


def shipped_names() -> list[str]:
    """Return the suites that come with the package."""
    found = files("realm.evaluation.suites").iterdir()
    return sorted(f.name.removesuffix(".yaml") for f in found if f.name.endswith(".yaml"))


def suite_names(folder: Path) -> list[str]:
    """Return the names of a realm's own suites (in this folder) and of the shipped ones."""
    own = {path.stem for path in folder.glob("*.yaml") if path.is_file()} if folder.is_dir() else set()
    return sorted(own | set(shipped_names()))


def load_suite(folder: Path, name: str) -> SuiteConfig:
    """Return a suite by its name: the realm's own in this folder, else a shipped one.

    Raises NotFoundError, listing what exists, and ConfigError for a file that does not validate.
    """
    if name not in suite_names(folder):
        listed = ", ".join(suite_names(folder))
        raise NotFoundError(f"no suite is called {name!r}", hint=f"there are: {listed}")
    own = folder / f"{name}.yaml"
    if own.is_file():
        suite = validate(SuiteConfig, read_yaml(own), where=str(own))
    else:
        text = files("realm.evaluation.suites").joinpath(f"{name}.yaml").read_text(encoding="utf-8")
        suite = validate(SuiteConfig, yaml.safe_load(text), where=f"suite {name}")
    if suite.name != name:
        raise ConfigError(f"suite {name}: its name is {suite.name}", hint="name it like its file")
    return suite.model_copy(update={"tasks": tuple(_located(entry, folder) for entry in suite.tasks)})


def _located(entry: TaskEntry, folder: Path) -> TaskEntry:
    """Return the entry with the paths of its task and of the task's skill begun at the suite's folder."""
    if entry.task is None:
        return entry
    task = rooted(entry.task, folder.resolve())
    inner = {name: rooted(value, folder.resolve()) for name, value in task if isinstance(value, Config)}
    return entry.model_copy(update={"task": task.model_copy(update=inner)})


# --- resolving and scoring ------------------------------------------------------------------


class ResolvedTask(Record):
    """A task of a suite with its problems."""

    entry: TaskEntry
    parts: tuple[Suite, ...]


class ResolvedSuite(Record):
    """A suite with all its problems: what a checkpoint answers."""

    config: SuiteConfig
    size: Size
    tasks: tuple[ResolvedTask, ...]

    @property
    def parts(self) -> tuple[Suite, ...]:
        """Return the parts of all tasks."""
        return tuple(part for task in self.tasks for part in task.parts)

    def ended_early(self, risk: float = 0.0) -> ResolvedSuite:
        """Return the suite whose parts are asked only until they pass or fail their threshold for certain."""
        tasks = []
        for task in self.tasks:
            early = Early(
                threshold=task.entry.threshold or self.config.threshold,
                binary=task.entry.scoring == "binary",
                risk=risk,
            )
            parts = tuple(ended_early(part, early) for part in task.parts)
            tasks.append(task.model_copy(update={"parts": parts}))
        return self.model_copy(update={"tasks": tuple(tasks)})


def expanded(suite: SuiteConfig, drilled: Mapping[str, Config]) -> SuiteConfig:
    """Return the suite with one task for each drilled skill (its name and config) in place of `drilled`."""
    tasks = tuple(found for entry in suite.tasks for found in _expanded(entry, drilled))
    if not tasks:
        raise ConfigError(f"suite {suite.name} asks what the hero drills, and it drills nothing")
    return validate(
        SuiteConfig, suite.model_copy(update={"tasks": tasks}).model_dump(), where=f"suite {suite.name}"
    )


def _expanded(entry: TaskEntry, drilled: Mapping[str, Config]) -> Iterator[TaskEntry]:
    if entry.drilled is None:
        yield entry
        return
    for name, skill in drilled.items():
        levels = entry.drilled.model_dump()
        task = TASKS.config({"kind": "skill", "skill": skill, **levels})
        yield entry.model_copy(update={"name": name, "task": task, "drilled": None})


def resolve(suite: SuiteConfig, size: Size | None = None) -> ResolvedSuite:
    """Return a suite that is expanded with its problems; the same each time."""
    wanted = size or suite.size
    tasks = []
    for entry in suite.tasks:
        task = TASKS.build(entry.task)
        how = {"max_tokens": entry.max_tokens} if entry.max_tokens is not None else {}
        sampling = suite.sampling.model_copy(update=how)
        parts = parts_of(entry.name, task, task.problems(wanted), sampling)
        tasks.append(ResolvedTask(entry=entry, parts=parts))
    return ResolvedSuite(config=suite, size=wanted, tasks=tuple(tasks))


Answered = Mapping[str, tuple[str, Sequence[Graded]]]
"""By part: the verdict that ended it early, empty where all was asked, and the answers."""


def suite_score(suite: ResolvedSuite, answers: Answered) -> SuiteScore:
    """Score a suite from the answers to each of its parts."""
    tasks = tuple(_task_score(suite, task, answers) for task in suite.tasks)
    whole, threshold = composite(tasks), suite.config.threshold
    own = [task.passed for task, asked in zip(tasks, suite.tasks, strict=True) if asked.entry.threshold]
    of_suite = decided(whole, threshold, [_implied(task, threshold) for task in tasks])
    categories: dict[str, list[TaskScore]] = {}
    for task in tasks:
        categories.setdefault(task.category, []).append(task)
    return SuiteScore(
        suite=suite.config.name,
        version=suite.config.version,
        size=suite.size,
        threshold=threshold,
        composite=whole,
        passed=_all([of_suite, *own]),
        categories={name: composite(found).mean for name, found in categories.items()},
        tasks=tasks,
        early=any(task.verdicts for task in tasks),
    )


def _task_score(suite: ResolvedSuite, task: ResolvedTask, answers: Answered) -> TaskScore:
    entry = task.entry
    given = [answer for part in task.parts for answer in answers[part.id][1]]
    problems = [problem for part in task.parts for problem in part.problems]
    threshold = entry.threshold or suite.config.threshold
    found = share(given, entry.scoring, len(problems))
    primitives = {
        name: share(
            [answer for answer in given if answer.primitive == name],
            entry.scoring,
            sum(problem.primitive == name for problem in problems),
        )
        for name in dict.fromkeys(problem.primitive for problem in problems)
    }
    verdicts = {part.id: answers[part.id][0] for part in task.parts}
    each = [
        verdict.startswith(PASSES)
        if (verdict := verdicts[part.id])
        else decided(share(answers[part.id][1], entry.scoring, len(part.problems)), threshold, ())
        for part in task.parts
    ]
    return TaskScore(
        name=entry.name,
        category=entry.category,
        weight=entry.weight,
        scoring=entry.scoring,
        threshold=threshold,
        score=found,
        passed=decided(found, threshold, each),
        primitives=primitives,
        verdicts=tuple(f"{part}: {verdict}" for part, verdict in verdicts.items() if verdict),
    )


def _implied(task: TaskScore, threshold: float) -> bool | None:
    """Say whether a task reaches the suite's threshold as far as its verdict on its own one tells."""
    if task.passed and task.threshold >= threshold:
        return True
    return False if task.passed is False and task.threshold <= threshold else None


def _all(found: Sequence[bool | None]) -> bool | None:
    """Return False where one is, else None where one is not certain, else True."""
    if False in found:
        return False
    return None if None in found else True
