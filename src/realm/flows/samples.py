"""A skill looked at from outside: rows by address, answers graded, and what a server hands out.

A row's id is an address from which the same skill with the same options makes its problem again; see
`addresses`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

from pydantic import Field

from realm.core.config import override
from realm.core.errors import DataError, UsageError
from realm.core.events import Interval
from realm.core.records import Message, Record
from realm.corpus.files.lines import open_rows, parse, read_lines, strip
from realm.evaluation.intervals import pool, wilson
from realm.flows.addresses import DRAWS_AT_LEAST, DRAWS_PER_ROW, MOST_PASSED, Found, follow, grouped
from realm.http.skill_api import Info, Level
from realm.http.skill_server import Sample
from realm.skills.curriculum.config import CurriculumConfig
from realm.skills.curriculum.rules import asked_each
from realm.skills.own.skill import OwnSkill
from realm.skills.skill import SKILLS, LevelInfo, Problem, Skill, needs

Split = Literal["train", "eval"]

MOST_SEED = 2**63 - 1
_LINE_BYTES = 16 << 20
_DEPTH = 64
_TOO_FAR = (
    f"its id lies too far on: the ids of one file may pass over {MOST_PASSED:,} problems without rows; "
    "give the prompt too"
)


class Turn(Record):
    """One turn of a prompt."""

    role: str
    content: str


class SampleRow(Record):
    """One problem, as `realm skill sample` prints it."""

    id: str
    prompt: str
    """The user's turn."""
    messages: tuple[Turn, ...]
    """All turns before the answer."""
    expected: str
    primitive: str
    level: int
    split: Split


class GradedRow(Record):
    """What one answer came to."""

    line: int
    id: str | None
    correct: bool
    score: Annotated[float, Field(ge=0, le=1)]
    expected: str
    primitive: str


class BadRow(Record):
    """A row that could not be graded."""

    line: int
    reason: str


class GradeReport(Record):
    """What a file of answers came to."""

    skill: str
    version: str
    file: str
    rows: tuple[GradedRow, ...]
    bad: tuple[BadRow, ...]
    primitives: dict[str, Interval]
    """Right answers, with the 95 % Wilson interval of their share."""
    overall: Interval


class Addressed(NamedTuple):
    """A problem and the id that it can be made from again."""

    id: str
    problem: Problem


def skill_of(name: str, options: Iterable[str] = ()) -> Skill:
    """Build a skill from its kind's name, the path of a YAML file or the URL of a server."""
    options = tuple(options)
    if unclear := next((option for option in options if option.find("=") < 1), None):
        raise UsageError(f"--option {unclear}: expected KEY=VALUE", hint="such as --option digit_order=lsb")
    given = {"kind": name}
    if name.endswith((".yaml", ".yml")):
        given = {"kind": "file", "path": name}
    elif name.startswith(("http://", "https://")):
        given = {"kind": "http", "url": name}
    data = override(given, options)
    if name in SKILLS.names() and (missing := [key for key in needs(name) if key not in data]):
        hint = f"say which, such as --option {missing[0]}=…"
        raise UsageError(f"{name} is a kind of skill that needs {', '.join(missing)}", hint=hint)
    return SKILLS.build(data)


def sample(skill: Skill, level: int, count: int, *, seed: int, split: Split) -> list[Addressed]:
    """Return different problems of one side; fewer where there are no more. Raises NotFoundError.

    The same arguments give the same problems, and a smaller count the first of them.
    """
    if abs(seed) > MOST_SEED:
        raise UsageError(f"seed {str(seed)[:40]} is too large", hint=f"{MOST_SEED} is the largest")
    skill.level(level)
    draw = _training if split == "train" else _heldout
    return list(islice(draw(skill, level, count, seed), count))


def rows(found: Iterable[Addressed], split: Split) -> list[SampleRow]:
    """Return problems as rows."""
    return [
        SampleRow(
            id=each.id,
            prompt=each.problem.messages[-1].content,
            messages=tuple(Turn(role=turn.role, content=turn.content) for turn in each.problem.messages),
            expected=each.problem.expected,
            primitive=each.problem.primitive,
            level=each.problem.level,
            split=split,
        )
        for each in found
    ]


def grade_file(skill: Skill, path: Path) -> GradeReport:
    """Grade a `.jsonl` file of `{id or prompt, answer}` rows; other keys are not looked at.

    Raises UsageError, NotFoundError and DataError where the file as a whole cannot be read.
    """
    if os.path.isdir(path):  # unlike Path.is_dir, it fails for no name
        raise UsageError(f"{path} is a folder", hint="name one .jsonl file of {id or prompt, answer} rows")
    asked, bad = _read(path)
    found = follow(skill, (each.id for each in asked if each.id is not None))
    graded: list[GradedRow] = []
    for each in asked:
        problem = found.problems.get(each.id or "")
        if problem is None and each.prompt is not None and (each.id is None or each.id in found.too_far):
            problem = skill.recall(each.prompt)
        reason = _mismatch(skill, each, problem, found)
        if reason or problem is None:
            bad.append(BadRow(line=each.line, reason=reason))
            continue
        score = skill.grade(problem, each.answer)
        graded.append(
            GradedRow(
                line=each.line,
                id=each.id,
                correct=score == 1.0,
                score=score,
                expected=problem.expected,
                primitive=problem.primitive,
            )
        )
    primitives = _intervals(graded)
    return GradeReport(
        skill=skill.name,
        version=skill.version,
        file=str(path),
        rows=tuple(graded),
        bad=tuple(sorted(bad, key=lambda row: row.line)),
        primitives=primitives,
        overall=pool(primitives.values()),
    )


class OfferedSkill:
    """A skill as a skill server hands it out: training problems to train, held-out ones to evaluate."""

    def __init__(self, skill: Skill) -> None:
        self._skill, self._rules = skill, CurriculumConfig()

    def info(self) -> Info:
        """Say what the skill is."""
        skill, levels = self._skill, self._skill.level_numbers()
        more = skill.identity if isinstance(skill, OwnSkill) else None
        return Info(
            skill=skill.name,
            name=skill.title,
            description=more.description if more else "",
            category=more.category if more else "",
            tags=more.tags if more else (),
            min_level=min(levels),
            max_level=max(levels),
            version=skill.version,
        )

    def levels(self) -> tuple[Level, ...]:
        """Return the levels, with the numbers of problems that an evaluation asks."""
        return tuple(
            Level(
                level=info.level,
                name=info.name,
                description=info.description,
                eval_samples=self._asked(info),
                pass_threshold=self._rules.threshold,
            )
            for info in self._skill.levels()
        )

    def generate(self, level: int, count: int, seed: int) -> tuple[Sample, ...]:
        """Return training problems with their answers."""
        found = sample(self._skill, level, count, seed=seed, split="train")
        return tuple(_sample(each, each.problem.solved()) for each in found)

    def evaluation(self, level: int) -> tuple[Sample, ...]:
        """Return held-out problems."""
        found = sample(self._skill, level, self._asked(self._skill.level(level)), seed=0, split="eval")
        return tuple(_sample(each, each.problem.messages) for each in found)

    def _asked(self, info: LevelInfo) -> int:
        most = asked_each(self._rules, info)
        return sum(min(most, primitive.heldout) for primitive in info.testable_primitives())


def _sample(each: Addressed, messages: tuple[Message, ...]) -> Sample:
    problem = each.problem
    return Sample(
        id=each.id,
        prompt=problem.messages[-1].content,
        messages=messages,
        answer=problem.expected,
        primitive=problem.primitive,
        level=problem.level,
    )


def _training(skill: Skill, level: int, count: int, seed: int) -> Iterator[Addressed]:
    """Draw training problems and leave repeated ones out, until hardly any is new."""
    seen: set[str] = set()
    missed = 0
    draws = skill.drills(level, count * DRAWS_PER_ROW + DRAWS_AT_LEAST, weights={}, seed=seed)
    for index, problem in enumerate(draws):
        prompt = problem.messages[-1].content
        if prompt in seen:
            missed += 1
            if missed > 3 * len(seen) + 200:
                return
            continue
        missed = 0
        seen.add(prompt)
        yield Addressed(f"{skill.name}/{level}/train/{seed}/{index}", problem)


def _heldout(skill: Skill, level: int, count: int, seed: int) -> Iterator[Addressed]:
    """Take held-out problems, the primitives in turn."""
    primitives = [p.name for p in skill.level(level).testable_primitives()]
    each = -(-count // max(1, len(primitives)))
    by_primitive = grouped(skill.heldout(level, each, seed=seed))
    while 0 < sum(map(len, by_primitive.values())) < count:
        each *= 2
        more = grouped(skill.heldout(level, each, seed=seed))
        if sum(map(len, more.values())) == sum(map(len, by_primitive.values())):
            break
        by_primitive = more
    for index in range(each):
        for name in primitives:
            if index < len(by_primitive.get(name, ())):
                yield Addressed(f"{skill.name}/{level}/eval/{seed}/{name}/{index}", by_primitive[name][index])


# --- grading -------------------------------------------------------------------------------


class _Asked(NamedTuple):
    line: int
    id: str | None
    prompt: str | None
    answer: str


def _read(path: Path) -> tuple[list[_Asked], list[BadRow]]:
    asked: list[_Asked] = []
    bad: list[BadRow] = []
    with open_rows(path) as file:
        try:
            for number, line in read_lines(file, _LINE_BYTES):
                if text := strip(line, number):
                    try:
                        asked.append(_row(number, text))
                    except DataError as error:
                        bad.append(BadRow(line=number, reason=error.reason))
        except DataError as error:
            raise DataError(error.reason, file=str(path), line=error.line, hint=error.hint) from None
    if not asked and not bad:
        raise DataError("no rows", file=str(path))
    return asked, bad


def _row(number: int, line: bytes) -> _Asked:
    row = parse(line, _DEPTH)
    identity, prompt, answer = row.get("id"), row.get("prompt"), row.get("answer")
    if not isinstance(answer, str):
        raise DataError("answer is missing, or no string", file="")
    if not all(each is None or isinstance(each, str) for each in (identity, prompt)):
        raise DataError("id and prompt are strings", file="")
    if identity is None and prompt is None:
        raise DataError("neither an id nor a prompt says what was asked", file="")
    return _Asked(number, identity, prompt, answer)


def _mismatch(skill: Skill, asked: _Asked, problem: Problem | None, found: Found) -> str:
    """Say why a row cannot be graded; empty where it can."""
    if problem is None and asked.id in found.too_far:
        return _TOO_FAR
    if problem is None and asked.id is not None:
        return f"{asked.id[:80]!r} is no id of {skill.name} {skill.version}"
    if problem is None:
        return f"no problem of {skill.name} asks this"
    if asked.id is not None and asked.prompt not in (None, problem.messages[-1].content):
        return "the prompt is not that of the id; give the options that it was sampled with"
    return ""


def _intervals(graded: Iterable[GradedRow]) -> dict[str, Interval]:
    counts: dict[str, tuple[int, int]] = {}
    for row in graded:
        right, total = counts.get(row.primitive, (0, 0))
        counts[row.primitive] = (right + row.correct, total + 1)
    return {name: wilson(*count) for name, count in sorted(counts.items())}
