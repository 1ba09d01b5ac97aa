"""Drills of the reasoning-gym library (https://github.com/open-thought/reasoning-gym), one of its datasets.

The side of a problem is decided by a hash of its question, as for every own skill: the library's seeds
alone would let neighbouring ones share items. The library's scorer grades, and only its full score
counts. It is not used where its module could run an answer as code (sympy's parser, `eval`), nor where it
gives full score to a wrong answer, such as the right one among others: there an answer has to be the
library's own, character by character. A scorer that raises an error has not counted the answer.
Not covered: a scorer that takes very long.
"""

from __future__ import annotations

import ast
import contextlib
import difflib
import importlib
import inspect
import json
import re
import sys
import warnings
from collections.abc import Iterator, Mapping
from functools import cached_property, lru_cache
from importlib.metadata import version
from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, JsonValue

from realm.core import seeds
from realm.core.config import Config as BaseConfig
from realm.core.errors import ConfigError, MissingExtraError, NotFoundError, UsageError
from realm.core.hashing import canonical_json, hash_json, short
from realm.core.records import Message, Name
from realm.core.text import printable
from realm.skills.own.keys import key_of, side_of
from realm.skills.own.rows import RowSpace
from realm.skills.own.skill import Identity, OwnSkill, Size, Spaces, Step
from realm.skills.skill import PrimitiveInfo, Problem, Side

if TYPE_CHECKING:
    from reasoning_gym.dataset import ProceduralDataset

POOL_BLOCKS = 2
BLOCK = 200
"""Items that are made under one seed of the library."""
_DRY = 8
_TRIED = 5
_LONGEST = 10_000
_FORM = re.compile(r"([0-9]{1,10})/([0-9]{1,3})")
_RUNS_CODE = frozenset({"sympy", "eval", "exec", "compile", "parse_expr", "sympify", "pickle", "subprocess"})
_ANSWER_AT_FAULT = (
    *(ArithmeticError, AssertionError, AttributeError, LookupError, RecursionError, SyntaxError),
    *(TypeError, ValueError),
)


class ReasoningGym(OwnSkill):
    """Drill and grade one dataset. Raises MissingExtraError without the library, ConfigError."""

    class Config(BaseConfig):
        """Which dataset, and how hard."""

        kind: Literal["reasoning_gym"] = "reasoning_gym"
        dataset: Name
        """The library's name of it, such as chain_sum."""
        options: dict[str, JsonValue] = Field(default_factory=dict)
        """Settings of the dataset, at every level."""
        levels: Annotated[tuple[dict[str, JsonValue], ...], Field(min_length=1, max_length=100)] = ({},)
        """Settings that differ from level to level, lowest first."""
        heldout_fraction: Annotated[float, Field(ge=0.05, le=0.5)] = 0.30
        """Share of all problems that is never trained on."""

    def __init__(self, config: Config) -> None:
        super().__init__(config, _Gym(config))


class _Gym:
    system: tuple[Message, ...] = ()

    def __init__(self, config: ReasoningGym.Config) -> None:
        _require(config.dataset)
        self._config, self.share = config, config.heldout_fraction
        self._levels = [_GymSpace(self, level) for level in range(1, len(config.levels) + 1)]
        mark = short(hash_json(config.model_dump(mode="json")))
        self.identity = Identity(
            name=config.dataset,
            title=f"reasoning-gym: {config.dataset}",
            version=f"{version('reasoning-gym')}-{mark}",
        )
        for level in range(1, len(config.levels) + 1):
            dataset = self._dataset(level, 0)
            if not any(isinstance(dataset[index]["answer"], str) for index in range(_TRIED)):
                raise ConfigError(
                    f"reasoning_gym {config.dataset}: its items have no answer in words",
                    hint="choose another dataset",
                )

    def primitives(self) -> tuple[PrimitiveInfo, ...]:
        """Return the dataset itself, as the one primitive."""
        name = self._config.dataset
        return (PrimitiveInfo(name=name, display_name=name, description="", difficulty=1),)

    def steps(self) -> tuple[Step, ...]:
        """Return a level for each group of settings."""
        return tuple(
            Step(level=n, name=f"level {n}", description=printable(canonical_json(options), 400))
            for n, options in enumerate(self._config.levels, 1)
        )

    def spaces(self, level: int) -> Spaces:
        """Return the dataset at a level."""
        return {self._config.dataset: [self._levels[level - 1]]}

    def side(self, key: str) -> Side:
        """Return the side of a problem."""
        return side_of(key, self.share)

    def score(self, problem: Problem, answer: str) -> float:
        """Let the library grade an answer of bounded length."""
        found = _FORM.fullmatch(problem.form)
        if found is None:
            raise UsageError(f"{problem.form!r} names no item of {self._config.dataset}")
        given, right = answer.strip(), problem.expected.strip()
        if given == right:
            return 1.0
        if len(given) > _LONGEST + 2 * len(right) or not self._library_grades:
            return 0.0
        dataset = self._dataset(problem.level, int(found[1]))
        entry = dataset[int(found[2])]
        return float(_credits(dataset, entry, given))

    def block(self, level: int, seed: int) -> Iterator[Problem]:
        """Yield the items that are made under one seed, without those that have no answer in words."""
        dataset = self._dataset(level, seed)
        for index in range(BLOCK):
            entry = dataset[index]
            question, answer = entry.get("question"), entry.get("answer")
            if not isinstance(question, str) or not isinstance(answer, str) or not answer.strip():
                continue
            yield Problem(
                key=key_of(self._config.dataset, question),
                primitive=self._config.dataset,
                level=level,
                messages=(Message(role="user", content=question),),
                expected=answer,
                form=f"{seed}/{index}",
            )

    def _dataset(self, level: int, seed: int) -> ProceduralDataset:
        options = {**self._config.options, **self._config.levels[level - 1]}
        return _made(self._config.dataset, json.dumps(options, sort_keys=True), seed)

    @cached_property
    def _library_grades(self) -> bool:
        """Say whether the library's scorer is used: it runs no answer, and knows wrong ones."""
        from reasoning_gym.dataset import ProceduralDataset

        dataset = self._dataset(1, 0)
        scorer = type(dataset).score_answer
        # The base scorer compares as we do, but credits an answer that contains the right one.
        if scorer is ProceduralDataset.score_answer:
            return False
        source = inspect.getsource(importlib.import_module(scorer.__module__))
        if {part for node in ast.walk(ast.parse(source)) for part in _named(node)} & _RUNS_CODE:
            return False
        entries = [entry for entry in map(dataset.__getitem__, range(_TRIED)) if entry["answer"]]
        return not any(
            _credits(dataset, entry, wrong) for entry in entries for wrong in _wrong(entry, entries)
        )


class _GymSpace:
    def __init__(self, gym: _Gym, level: int) -> None:
        self._gym, self._level = gym, level

    @cached_property
    def _pool(self) -> RowSpace:
        name = self._gym.identity.name
        blocks = (_seed(name, "pool", self._level, block) for block in range(POOL_BLOCKS))
        items = [problem for seed in blocks for problem in self._gym.block(self._level, seed)]
        return RowSpace(list({item.key: item for item in items}.values()), self._gym.share, whole=False)

    def size(self) -> Size:
        """Count a sample."""
        return self._pool.size()

    def visit(self, side: Side, seed: int) -> Iterator[Problem]:
        """Visit the sample's problems of one side."""
        return self._pool.visit(side, seed)

    def find(self, prompt: str) -> Problem | None:
        """Return the sample's problem that a user turn asks."""
        return self._pool.find(prompt)

    def draws(self, seed: int) -> Iterator[Problem]:
        """Make training problems, block by block; none when several blocks have none."""
        index, dry = 0, 0
        while dry < _DRY:
            dry += 1
            for problem in self._gym.block(self._level, _seed(self._gym.identity.name, "draw", seed, index)):
                if self._gym.side(problem.key) == "train":
                    dry = 0
                    yield problem
            index += 1


def _credits(dataset: ProceduralDataset, entry: dict[str, Any], answer: str) -> bool:
    try:
        # Some scorers print, or warn of what they cannot read.
        with contextlib.redirect_stdout(sys.stderr), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return float(dataset.score_answer(answer, entry)) >= 1.0
    except _ANSWER_AT_FAULT:
        return False


def _wrong(entry: dict[str, Any], entries: list[dict[str, Any]]) -> Iterator[str]:
    """Yield answers that no scorer may count: none, the question, the right one among others."""
    right, others = str(entry["answer"]), "\n".join(str(each["answer"]) for each in entries)
    yield from ("", "?", "9" * 500, str(entry["question"]), f"{right}\n{others}", f"{others}\n{right}")
    yield f"{entry['question']}\n{right}"


def _seed(*parts: str | int) -> int:
    return seeds.seed("reasoning_gym", *parts) >> 33


def _named(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Name):
        yield node.id
    elif isinstance(node, ast.Attribute):
        yield node.attr
    elif isinstance(node, ast.ImportFrom):
        yield (node.module or "").split(".")[0]
    elif isinstance(node, ast.Import):
        yield from (alias.name.split(".")[0] for alias in node.names)


def _require(dataset: str) -> None:
    if find_spec("reasoning_gym") is None:
        raise MissingExtraError(
            "this skill needs the reasoning-gym library",
            hint="install the extra: pip install 'realm-lab[reasoning-gym]'",
        )
    from reasoning_gym.factory import DATASETS

    if dataset not in DATASETS:
        near = difflib.get_close_matches(dataset, DATASETS, n=3)
        hint = f"did you mean {', '.join(near)}?" if near else f"it has {len(DATASETS)}, such as chain_sum"
        raise NotFoundError(f"reasoning-gym has no dataset {dataset!r}", hint=hint)


@lru_cache(maxsize=64)
def _made(dataset: str, options: str, seed: int) -> ProceduralDataset:
    """Make a dataset of one seed; the newest are kept, because an answer is graded by its dataset."""
    from reasoning_gym.factory import create_dataset

    given: Mapping[str, Any] = json.loads(options)
    reserved = {"seed", "size"} & given.keys()
    try:
        if reserved:
            raise ValueError(f"{min(reserved)} is decided here")
        return create_dataset(dataset, **given, seed=seed, size=BLOCK)
    except (AssertionError, TypeError, ValueError) as error:
        raise ConfigError(f"reasoning_gym {dataset}: {printable(str(error), 200)}") from None
