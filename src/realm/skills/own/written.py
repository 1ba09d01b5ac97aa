"""A source that a person wrote: rows and templates of a YAML file."""

from __future__ import annotations

import difflib
from collections import defaultdict
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple, cast

from realm.core.errors import ConfigError, DataError
from realm.core.hashing import hash_file, hash_json, short
from realm.core.records import Message
from realm.skills.own.clashes import Asked, Placed, refuse_clashes
from realm.skills.own.grading import Grading
from realm.skills.own.keys import key_of, side_of
from realm.skills.own.reading import MOST_YAML_BYTES, beside, read_bytes, read_rows, read_skill
from realm.skills.own.rows import RowSpace
from realm.skills.own.schema import RowConfig, SkillFile
from realm.skills.own.skill import Identity, Space, Spaces, Step, score
from realm.skills.own.template import Setting, TemplateSpace
from realm.skills.skill import PrimitiveInfo, Problem, Side

_PARSED = 16


class _Row(NamedTuple):
    place: str
    row: RowConfig


class Written:
    """The problems of one file. Raises ConfigError or DataError where something is wrong with it."""

    def __init__(self, path: Path, file: SkillFile, rows: Iterable[_Row]) -> None:
        self._file = file
        self.share = file.heldout_fraction
        self.system = (Message(role="system", content=file.system_prompt),) if file.system_prompt else ()
        given = list(rows)
        # What is asked may change while a person's own version number stays.
        content = [
            file.model_dump(mode="json", exclude={"rows"}),
            [each.row.model_dump(mode="json") for each in given],
        ]
        self.identity = Identity(
            name=file.id,
            title=file.name or file.id,
            version=f"{file.version}-{short(hash_json(content))}",
            description=file.description,
            category=file.category,
            tags=file.tags,
        )
        self._spaces: dict[int, dict[str, list[Space]]] = defaultdict(lambda: defaultdict(list))
        refuse_clashes(self._add_rows(given), self._add_templates(path))
        self._primitives = self._named(path)
        highest = max(self._spaces, default=1)
        if file.max_level is not None and file.max_level < highest:
            raise ConfigError(
                f"{path}: max_level is {file.max_level}, but there are problems of level {highest}"
            )
        if len(file.levels) > (top := file.max_level or highest):
            raise ConfigError(f"{path}: levels names {len(file.levels)} levels, but there are {top}")
        self._top = top

    def primitives(self) -> tuple[PrimitiveInfo, ...]:
        """Return every primitive."""
        return self._primitives

    def steps(self) -> tuple[Step, ...]:
        """Return the levels from 1 on, also those without problems."""
        names = dict(enumerate(self._file.levels, 1))
        return tuple(
            Step(level=n, name=names[n].name, description=names[n].description)
            if n in names
            else Step(level=n, name=f"level {n}")
            for n in range(1, self._top + 1)
        )

    def spaces(self, level: int) -> Spaces:
        """Return a level's problems."""
        spaces = self._spaces.get(level, {})
        return {primitive.name: spaces.get(primitive.name, []) for primitive in self._primitives}

    def side(self, key: str) -> Side:
        """Return the side of a problem."""
        return side_of(key, self.share)

    def score(self, problem: Problem, answer: str) -> float:
        """Grade as the row, the template or the file says."""
        return score(problem, answer, cast("Grading", problem.form or self._file.grading))

    def _add_rows(self, given: list[_Row]) -> list[Asked]:
        first: dict[str, _Row] = {}
        asked: list[Asked] = []
        groups: dict[tuple[int, str], list[Problem]] = defaultdict(list)
        for each in given:
            row, key = each.row, key_of(self._file.id, each.row.prompt)
            if (seen := first.setdefault(key, each)) is not each:
                hint = "leave one out; case, width and white space make no other question"
                raise DataError(f"the prompt of {seen.place} again", file=each.place, hint=hint)
            primitive = row.primitive or self._file.id
            problem = Problem(
                key=key,
                primitive=primitive,
                level=row.level,
                messages=(*self.system, Message(role="user", content=row.prompt)),
                expected=row.answer,
                form=row.grading or "",
            )
            graded = row.grading or self._file.grading
            if not row.answer.strip() or self.score(problem, row.answer) < 1:
                raise DataError(f"the answer {row.answer[:40]!r} is no {graded}", file=each.place)
            groups[row.level, primitive].append(problem)
            asked.append(Asked(each.place, problem, graded, counted=True))
        for (level, primitive), problems in groups.items():
            self._spaces[level][primitive].append(RowSpace(problems, self.share))
        return asked

    def _add_templates(self, path: Path) -> list[Placed]:
        placed: list[Placed] = []
        for index, config in enumerate(self._file.templates):
            place, graded = f"{path}: templates.{index}", config.grading or self._file.grading
            try:
                space = TemplateSpace(config, Setting(self._file.id, self.share, self.system))
                for problem in (*_some(space, "train"), *_some(space, "heldout")):
                    if self.score(problem, problem.expected) < 1:
                        raise ConfigError(f"answer: {problem.expected[:40]!r} is no {graded}")
            except ConfigError as error:
                raise ConfigError(f"{place}: {error.what}", hint=error.hint) from None
            self._spaces[config.level][config.primitive or self._file.id].append(space)
            placed.append(Placed(place, space, graded))
        return placed

    def _named(self, path: Path) -> tuple[PrimitiveInfo, ...]:
        used = list(dict.fromkeys(name for spaces in self._spaces.values() for name in spaces))
        told = {primitive.name: primitive for primitive in self._file.primitives}
        for name in used:
            if told and name not in told:
                near = difflib.get_close_matches(name, told, n=1)
                hint = f"did you mean {near[0]}? " if near else ""
                raise ConfigError(
                    f"{path}: primitives has no {name!r}", hint=f"{hint}there are: {', '.join(told)}"
                )
        if not told:
            return tuple(
                PrimitiveInfo(name=name, display_name=name, description="", difficulty=1) for name in used
            )
        return tuple(
            PrimitiveInfo(**{**each.model_dump(), "display_name": each.display_name or each.name})
            for each in told.values()
        )


def source_of(path: Path) -> Written | SkillFile:
    """Read a skill file: its problems, or what it says where a server has them.

    Raises NotFoundError, ConfigError with the line or the field, DataError with the row.
    """
    data = read_bytes(path, MOST_YAML_BYTES)
    file = _parsed(path, data)
    if file.api is not None:
        return file
    return _written(path, data, hash_file(beside(path, file.rows)) if isinstance(file.rows, str) else "")


@lru_cache(maxsize=_PARSED)
def _parsed(path: Path, data: bytes) -> SkillFile:
    return read_skill(path, data)


@lru_cache(maxsize=_PARSED)
def _written(path: Path, data: bytes, rows: str) -> Written:
    """Return the source of this content; kept, because labs build their skills again and again."""
    file = _parsed(path, data)
    return Written(path, file, _rows_of(path, file))


def _rows_of(path: Path, file: SkillFile) -> Iterator[_Row]:
    if isinstance(file.rows, str):
        place = beside(path, file.rows)
        for line, row in read_rows(place):
            yield _Row(f"{place}:{line}", row)
    else:
        for index, row in enumerate(file.rows):
            yield _Row(f"{path}: rows.{index}", row)


def _some(space: TemplateSpace, side: Side) -> Iterator[Problem]:
    return (problem for problem, _ in zip(space.visit(side, 0), range(20), strict=False))
