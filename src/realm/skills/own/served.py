"""A source that a skill server hands out.

The server is asked for the first time when problems are needed: a config is read and an answer is graded
without it. Which side a problem falls on is decided here, by its words: what the server generates and is
held out here is only asked, and what it gives for evaluation and is for training here is left out of both.
So nothing that was trained is asked, whatever the server mixes, and however it changes its mind.

An evaluation asks the held-out ones of the server's evaluation set and of one large sample of what it
generates. A level's problems are fetched when they are first needed and kept by the version that the
server names at `/info`, which each skill that is built asks for once; `/levels` alone says which levels
there are. Not covered: a server that gives other problems for the same seed and version makes runs that
differ; one that names no version is believed to stay the same while the process runs.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property, lru_cache
from typing import Annotated, NamedTuple, Self
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from realm.core import seeds
from realm.core.errors import RefusedError
from realm.core.records import Message, Name, Record
from realm.core.text import printable
from realm.http.client import KeyVariable, SafeUrl
from realm.http.skill_api import Item, Level, SkillClient
from realm.skills.own.grading import Grading
from realm.skills.own.keys import key_of, side_of
from realm.skills.own.rows import RowSpace
from realm.skills.own.served_memory import Memory
from realm.skills.own.skill import Identity, Size, Spaces, Step, score
from realm.skills.skill import PrimitiveInfo, Problem, Side

POOL = 1_000
"""Problems of a level that are asked for at once, to know what can be tested."""
CHUNK = 256
"""Problems that are asked for at once for training."""
_DRY = 4
"""Answers without a new training problem after which a server counts as exhausted."""
_PROBLEM_COST = 1_000
"""Added to the characters of a problem, for what holds them."""
_MOST_POOLS = 128 << 20
"""More than the largest two answers of a server come to, so that every level's problems can be kept."""
_MOST_CHUNKS = 64 << 20
_MOST_KNOWN = 16 << 20
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


class Known(NamedTuple):
    """What stays known of a level when its problems are no longer kept."""

    sizes: Mapping[str, Size]
    """By primitive."""
    mixed: Mixed
    misplaced: frozenset[str]
    """Keys of what is given for evaluation and is for training here."""


class Pool(NamedTuple):
    """The problems of a level that are known without training on it."""

    known: Known
    rows: Mapping[str, RowSpace]
    """By primitive."""
    cost: int


class Served:
    """The problems of one server."""

    system: tuple[Message, ...] = ()

    def __init__(self, server: Server) -> None:
        self._server = server
        self.share = server.share
        self.identity = Identity(name=server.name, title=f"Skill server {server.url}", version="1")

    def primitives(self) -> tuple[PrimitiveInfo, ...]:
        """Return the primitives that the server's items name."""
        named = dict.fromkeys(name for step in self.steps() for name in self.known(step.level).sizes)
        return tuple(PrimitiveInfo(name=n, display_name=n, description="", difficulty=1) for n in named)

    def steps(self) -> tuple[Step, ...]:
        """Return the server's levels."""
        return tuple(
            Step(
                level=each.level,
                name=printable(each.name) or f"level {each.level}",
                description=printable(each.description, 400),
            )
            for each in _levels(self._server, self._edition)
        )

    def spaces(self, level: int) -> Spaces:
        """Return a level's problems: a pool of them for asking, the server itself for training."""
        return {name: [ServedSpace(self, level, name)] for name in self.known(level).sizes}

    def side(self, key: str) -> Side:
        """Return the side of a problem."""
        return side_of(key, self.share)

    def score(self, problem: Problem, answer: str) -> float:
        """Grade as the config says; the server is not asked."""
        return score(problem, answer, self._server.grading)

    def mixed(self, level: int) -> Mixed:
        """Say what the problems of a level came to."""
        return self.known(level).mixed

    def known(self, level: int) -> Known:
        """Return what is known of a level; its problems are fetched once for that."""
        return _KNOWN.of((self._server, self._edition, level), lambda: self._pool(level).known)

    def rows(self, level: int, primitive: str) -> RowSpace:
        """Return the problems of one primitive; fetched again where they could not be kept."""
        # A server that changed its mind since may have none of it.
        return self._pool(level).rows.get(primitive) or RowSpace((), self.share, whole=False)

    def chunk(self, level: int, seed: int, index: int) -> tuple[Problem, ...]:
        """Return the training problems of one answer of the server."""
        asked_seed = seeds.seed("own/served", seed, index) >> 32
        misplaced = self.known(level).misplaced

        def fetch() -> tuple[Problem, ...]:
            items = _client(self._server).generate(level, CHUNK, asked_seed).items
            problems = (problem_of(self._server, level, item) for item in items)
            return tuple(p for p in problems if self.side(p.key) == "train" and p.key not in misplaced)

        return _CHUNKS.of((self._server, self._edition, level, asked_seed), fetch)

    def _pool(self, level: int) -> Pool:
        return _POOLS.of((self._server, self._edition, level), lambda: _fetched(self._server, level))

    @cached_property
    def _edition(self) -> str:
        """What the server calls its problems now; empty where it does not say."""
        try:
            return str(_client(self._server).info().version)
        except RefusedError as error:
            _log.info("what %s said is kept while the process runs: %s", self._server.url, error.what)
            return ""


class ServedSpace:
    """Problems of one primitive at one level of a server; a pool of them stands for all."""

    def __init__(self, source: Served, level: int, primitive: str) -> None:
        self._source, self._level, self._primitive = source, level, primitive

    def size(self) -> Size:
        """Count the pool."""
        return self._source.known(self._level).sizes[self._primitive]

    def draws(self, seed: int) -> Iterator[Problem]:
        """Take the server's training problems, answer by answer, until there are none of this primitive."""
        index, dry = 0, 0
        while dry < _DRY:
            problems = self._source.chunk(self._level, seed, index)
            wanted = [problem for problem in problems if problem.primitive == self._primitive]
            dry = 0 if wanted else dry + 1
            yield from wanted
            index += 1

    def visit(self, side: Side, seed: int) -> Iterator[Problem]:
        """Visit the pool's problems of one side."""
        return self._source.rows(self._level, self._primitive).visit(side, seed)

    def find(self, prompt: str) -> Problem | None:
        """Return the pool's problem that a user turn asks."""
        return self._source.rows(self._level, self._primitive).find(prompt)


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


def _cost(problems: Iterable[Problem]) -> int:
    return sum(
        _PROBLEM_COST + len(p.expected) + sum(len(turn.content) for turn in p.messages) for p in problems
    )


_POOLS: Memory[Pool] = Memory(_MOST_POOLS, lambda pool: pool.cost)
_CHUNKS: Memory[tuple[Problem, ...]] = Memory(_MOST_CHUNKS, _cost)
_KNOWN: Memory[Known] = Memory(
    _MOST_KNOWN, lambda known: _PROBLEM_COST + 200 * (len(known.sizes) + len(known.misplaced))
)


@lru_cache(maxsize=32)
def _levels(server: Server, edition: str) -> tuple[Level, ...]:
    return _client(server).levels()


def _fetched(server: Server, level: int) -> Pool:
    """Fetch the problems that a level is asked from, and sort out what may be asked and trained."""
    evaluation = _client(server).evaluation(level)
    given = [problem_of(server, level, item) for item in evaluation.items]
    generated = _client(server).generate(level, POOL, seeds.seed("own/pool", server.name, level) >> 32)
    made = [problem_of(server, level, item) for item in generated.items]
    heldout = {p.key: p for p in given if side_of(p.key, server.share) == "heldout"}
    evaluated = {p.key for p in given}
    misplaced = frozenset(evaluated - heldout.keys())
    train: dict[str, Problem] = {}
    for problem in made:
        if problem.key not in misplaced:
            side = heldout if side_of(problem.key, server.share) == "heldout" else train
            side.setdefault(problem.key, problem)
    mixed = Mixed(
        train=len(train),
        heldout=len(heldout),
        misplaced=len(misplaced),
        mixed=len(evaluated & {problem.key for problem in made}),
        unreadable=evaluation.unreadable + generated.unreadable,
    )
    if mixed.mixed or mixed.unreadable:
        _log.warning(
            "%s level %d: %d problems given for evaluation and for training, which are not trained; "
            "%d items of an unknown shape left out",
            *(server.url, level, mixed.mixed, mixed.unreadable),
        )
    problems = (*train.values(), *heldout.values())
    rows = _rows(problems, server.share)
    known = Known({name: space.size() for name, space in rows.items()}, mixed, misplaced)
    return Pool(known, rows, _cost(problems))


def _rows(problems: Iterable[Problem], share: float) -> dict[str, RowSpace]:
    named: dict[str, list[Problem]] = defaultdict(list)
    for problem in problems:
        named[problem.primitive].append(problem)
    return {name: RowSpace(each, share, whole=False) for name, each in named.items()}
