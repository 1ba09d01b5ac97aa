"""A source that a skill server hands out.

The server is asked for the first time when problems are needed: a config is read and an answer is graded
without it. Which side a problem falls on is decided here, by its words: what the server generates and is
held out here is only asked, and what it gives for evaluation and is for training here is left out of both.
So nothing that was trained is asked, whatever the server mixes, and however it changes its mind.

An evaluation asks the held-out ones of the server's evaluation set and of one large sample of what it
generates. Not covered: a server that gives other problems for the same seed makes runs that differ.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterator
from functools import lru_cache
from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from realm.core import seeds
from realm.core.records import Message, Name, Record
from realm.core.text import printable
from realm.http.client import KeyVariable, SafeUrl
from realm.http.skill_api import Item, Items, Level, SkillClient
from realm.skills.own.grading import Grading
from realm.skills.own.keys import key_of, side_of
from realm.skills.own.rows import RowSpace
from realm.skills.own.skill import Identity, Spaces, Step, score
from realm.skills.skill import PrimitiveInfo, Problem, Side

POOL = 1_000
"""Problems of a level that are asked for at once, to know what can be tested."""
CHUNK = 256
"""Problems that are asked for at once for training."""
_DRY = 4
"""Answers without a new training problem after which a server counts as exhausted."""
_LOCAL = frozenset({"localhost", "127.0.0.1", "::1"})

_log = logging.getLogger(__name__)


class Server(Record):
    """Where a skill server is and how its problems are taken."""

    url: SafeUrl
    name: Name
    """The skill's name here, part of every key."""
    grading: Grading
    share: Annotated[float, Field(gt=0, lt=1)]
    token_variable: KeyVariable | None
    allow_host: str | None

    @model_validator(mode="after")
    def _allowed(self) -> Self:
        host = urlsplit(self.url).hostname or ""
        if host not in _LOCAL and self.allow_host != host:
            raise ValueError(f"{self.url} is on another machine; allow it with `allow_host: {host}`")
        return self


class Mixed(Record):
    """What a level's problems came to."""

    train: int
    heldout: int
    misplaced: int
    """Given for evaluation, but for training here; left out of both."""
    mixed: int
    """Given for evaluation and for training."""
    unreadable: int


class Served:
    """The problems of one server."""

    system: tuple[Message, ...] = ()

    def __init__(self, server: Server) -> None:
        self._server = server
        self._spaces: dict[int, Spaces] = {}
        self.share = server.share
        self.identity = Identity(name=server.name, title=f"Skill server {server.url}", version="1")

    def primitives(self) -> tuple[PrimitiveInfo, ...]:
        """Return the primitives that the server's items name."""
        named: dict[str, int] = {}
        for step in self.steps():
            for name in self._pools(step.level):
                named.setdefault(name, step.level)
        return tuple(PrimitiveInfo(name=n, display_name=n, description="", difficulty=1) for n in named)

    def steps(self) -> tuple[Step, ...]:
        """Return the server's levels."""
        return tuple(
            Step(
                level=each.level,
                name=printable(each.name) or f"level {each.level}",
                description=printable(each.description, 400),
            )
            for each in _levels(self._server)
        )

    def spaces(self, level: int) -> Spaces:
        """Return a level's problems: a pool of them for asking, the server itself for training."""
        if level not in self._spaces:
            pools = self._pools(level).items()
            self._spaces[level] = {name: [ServedSpace(self, level, name, pool)] for name, pool in pools}
        return self._spaces[level]

    def side(self, key: str) -> Side:
        """Return the side of a problem."""
        return side_of(key, self.share)

    def score(self, problem: Problem, answer: str) -> float:
        """Grade as the config says; the server is not asked."""
        return score(problem, answer, self._server.grading)

    def mixed(self, level: int) -> Mixed:
        """Say what the problems of a level came to."""
        return _pool(self._server, level)[1]

    def chunk(self, level: int, seed: int, index: int) -> list[Problem]:
        """Return the training problems of one answer of the server."""
        asked_seed = seeds.seed("own/served", seed, index) >> 32
        items = _generated(self._server, level, CHUNK, asked_seed)
        evaluation = {problem.key for problem in _evaluated(self._server, level)[0]}
        problems = (problem_of(self._server, level, item) for item in items.items)
        return [p for p in problems if self.side(p.key) == "train" and p.key not in evaluation]

    def _pools(self, level: int) -> dict[str, list[Problem]]:
        pools: dict[str, list[Problem]] = defaultdict(list)
        for problem in _pool(self._server, level)[0]:
            pools[problem.primitive].append(problem)
        return pools


class ServedSpace(RowSpace):
    """Problems of one primitive at one level of a server; a pool of them stands for all."""

    def __init__(self, source: Served, level: int, primitive: str, pool: list[Problem]) -> None:
        super().__init__(pool, source.share, whole=False)
        self._source, self._level, self._primitive = source, level, primitive

    def draws(self, seed: int) -> Iterator[Problem]:
        """Take the server's training problems, answer by answer, until there are none of this primitive."""
        index, dry = 0, 0
        while dry < _DRY:
            problems = self._source.chunk(self._level, seed, index)
            wanted = [problem for problem in problems if problem.primitive == self._primitive]
            dry = 0 if wanted else dry + 1
            yield from wanted
            index += 1


def problem_of(server: Server, level: int, item: Item) -> Problem:
    """Return an item as a problem; its words without the system turn decide its key."""
    asked = "\n".join(turn.content for turn in item.turns if turn.role != "system")
    return Problem(
        key=key_of(server.name, asked),
        primitive=printable(item.primitive, 80) or server.name,
        level=level,
        messages=tuple(Message(role=turn.role, content=turn.content) for turn in item.turns),
        expected=item.answer,
    )


def _client(server: Server) -> SkillClient:
    return SkillClient(server.url, server.token_variable)


# What a server said is kept for the process: a lab builds its skills again and again.


@lru_cache(maxsize=32)
def _levels(server: Server) -> tuple[Level, ...]:
    return _client(server).levels()


@lru_cache(maxsize=256)
def _generated(server: Server, level: int, count: int, seed: int) -> Items:
    return _client(server).generate(level, count, seed)


@lru_cache(maxsize=256)
def _evaluated(server: Server, level: int) -> tuple[tuple[Problem, ...], int]:
    """Return what a server gives for evaluation, and how many items were of no known shape."""
    items = _client(server).evaluation(level)
    return tuple(problem_of(server, level, item) for item in items.items), items.unreadable


@lru_cache(maxsize=256)
def _pool(server: Server, level: int) -> tuple[tuple[Problem, ...], Mixed]:
    """Return the problems of a level that are known without training on it."""
    given, unreadable = _evaluated(server, level)
    heldout = {p.key: p for p in given if side_of(p.key, server.share) == "heldout"}
    misplaced = {p.key for p in given} - heldout.keys()
    generated = _generated(server, level, POOL, seeds.seed("own/pool", server.name, level) >> 32)
    train: dict[str, Problem] = {}
    evaluation, both = {p.key for p in given}, set()
    for item in generated.items:
        problem = problem_of(server, level, item)
        if problem.key in evaluation:
            both.add(problem.key)
        if problem.key not in misplaced:
            side = heldout if side_of(problem.key, server.share) == "heldout" else train
            side.setdefault(problem.key, problem)
    mixed = Mixed(
        train=len(train),
        heldout=len(heldout),
        misplaced=len(misplaced),
        mixed=len(both),
        unreadable=unreadable + generated.unreadable,
    )
    if mixed.mixed or mixed.unreadable:
        _log.warning(
            "%s level %d: %d problems given for evaluation and for training, which are not trained; "
            "%d items of an unknown shape left out",
            *(server.url, level, mixed.mixed, mixed.unreadable),
        )
    return (*train.values(), *heldout.values()), mixed
