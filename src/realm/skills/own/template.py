"""Problems written from a template: a prompt with places, operands that fill them, an answer worked out."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import NamedTuple

from realm.core import seeds
from realm.core.errors import ConfigError
from realm.core.records import Message
from realm.skills.own.expression import Expression, Value
from realm.skills.own.keys import key_of, side_of
from realm.skills.own.schema import Numbers, TemplateConfig
from realm.skills.own.skill import Size
from realm.skills.skill import Problem, Side
from realm.skills.split import shuffled

LISTED = 20_000
"""Combinations of operands that are counted one by one."""
_LARGEST = 10**12
_SAMPLED = 2_000
_TRIES = 20_000
_MOST_CHARS = 20_000
_READINGS = 64
_PLACE = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")

Operands = dict[str, Value]


class Place(NamedTuple):
    """What stands between braces."""

    text: str


class Setting(NamedTuple):
    """What every problem of a skill shares."""

    domain: str
    share: float
    system: tuple[Message, ...]


class TemplateSpace:
    """All problems of one template. Raises ConfigError for one that cannot be meant."""

    def __init__(self, config: TemplateConfig, setting: Setting) -> None:
        self._config, self._setting = config, setting
        self._values = {name: _values(given) for name, given in config.operands.items()}
        self._entries = math.prod(len(values) for values in self._values.values())
        if self._entries > _LARGEST:
            raise ConfigError(f"operands: {self._entries:,} combinations; {_LARGEST:,} are the most")
        self._prompt = _parts(config.prompt, "prompt")
        self._check_prompt()
        self._answer = [
            _within("answer", part.text, self._values) if isinstance(part, Place) else part
            for part in _parts(config.answer, "answer")
        ]
        self._where = _within("where", config.where, self._values) if config.where else None
        if not any(self.size()[:2]):
            raise ConfigError("where leaves no problems, or hardly any", hint="narrow the operands instead")
        self._try()

    def size(self) -> Size:
        """Count the problems; estimated from a sample above `LISTED` combinations."""
        train, heldout = self._seen
        if self._entries <= LISTED:
            return Size(len(train) + len(heldout), len(heldout), counted=True)
        scale = self._entries / _SAMPLED
        return Size(round((len(train) + len(heldout)) * scale), round(len(heldout) * scale), counted=False)

    def draws(self, seed: int) -> Iterator[Problem]:
        """Draw training problems alike. Raises ConfigError where `where` leaves too few to be found."""
        train, index = self._seen[0], 0
        while train:
            rng = seeds.rng("own/template", seed, index)
            if self._entries <= LISTED:
                yield self._problem(self._operands(rng.choice(train)))
            else:
                tries = (self._at(rng.randrange(self._entries), "train") for _ in range(_TRIES))
                problem = next((each for each in tries if each is not None), None)
                if problem is None:
                    raise ConfigError(f"where leaves fewer than one combination in {_TRIES:,}")
                yield problem
            index += 1

    def visit(self, side: Side, seed: int) -> Iterator[Problem]:
        """Visit the problems of one side in random order."""
        rng = seeds.rng("own/visit", seed)
        if self._entries <= LISTED:
            listed = self._seen[0] if side == "train" else self._seen[1]
            yield from (self._problem(self._operands(listed[at])) for at in shuffled(len(listed), rng))
            return
        missed = 0
        for index in shuffled(self._entries, rng):
            problem = self._at(index, side)
            missed = 0 if problem else missed + 1
            if problem:
                yield problem
            elif missed > _TRIES:
                return

    def first(self, most: int) -> Iterator[Problem]:
        """Return up to so many problems of both sides, in the order of their operands, each once."""
        indices = sorted({*self._seen[0], *self._seen[1]})[:most]
        return (self._problem(self._operands(index)) for index in indices)

    def find(self, prompt: str) -> Problem | None:
        """Return the problem that a user turn asks: the first reading that gives the same words."""
        asked = prompt.strip()
        if len(asked) > _MOST_CHARS:
            return None
        for operands in self._readings(asked):
            if set(operands) == set(self._values) and self._accepted(operands):
                problem = self._problem(operands)
                if problem.messages[-1].content.strip() == asked:
                    return problem
        return None

    # --- reading the template --------------------------------------------------------------

    def _check_prompt(self) -> None:
        named = [part.text for part in self._prompt if isinstance(part, Place)]
        for name in named:
            if name not in self._values:
                shown = ", ".join(self._values) or "none"
                raise ConfigError(f"prompt: {{{name}}} is no operand; there are: {shown}")
        for name in self._values:
            if name not in named:
                raise ConfigError(f"prompt: {{{name}}} is missing, so one question had several answers")
        for first, second in zip(self._prompt, self._prompt[1:], strict=False):
            if isinstance(first, Place) and isinstance(second, Place):
                raise ConfigError(f"prompt: {{{first.text}}}{{{second.text}}} could not be told apart")

    def _try(self) -> None:
        """Write some problems, so that a bad answer is told when the file is read."""
        for index in (*self._seen[0][:50], *self._seen[1][:50]):
            self._problem(self._operands(index))

    # --- writing problems ------------------------------------------------------------------

    @cached_property
    def _seen(self) -> tuple[list[int], list[int]]:
        """Return indices of training and held-out problems: all, or those of a sample."""
        if self._entries <= LISTED:
            indices: list[int] = list(range(self._entries))
        else:
            rng = seeds.rng("own/size", self._setting.domain, self._config.prompt)
            indices = [rng.randrange(self._entries) for _ in range(_SAMPLED)]
        sides: dict[Side, list[int]] = {"train": [], "heldout": []}
        for index in indices:
            operands = self._operands(index)
            if self._accepted(operands):
                sides[self._side(self._asked(operands))].append(index)
        return sides["train"], sides["heldout"]

    def _operands(self, index: int) -> Operands:
        found: Operands = {}
        for name, values in self._values.items():
            index, at = divmod(index, len(values))
            found[name] = values[at]
        return found

    def _accepted(self, operands: Operands) -> bool:
        if self._where is None:
            return True
        told = self._where.value(operands)
        if type(told) is not bool:
            raise ConfigError("where: the expression is neither true nor false")
        return told

    def _asked(self, operands: Mapping[str, Value]) -> str:
        return "".join(str(operands[p.text]) if isinstance(p, Place) else p for p in self._prompt)

    def _side(self, prompt: str) -> Side:
        return side_of(key_of(self._setting.domain, prompt), self._setting.share)

    def _at(self, index: int, side: Side) -> Problem | None:
        operands = self._operands(index)
        if not self._accepted(operands) or self._side(self._asked(operands)) != side:
            return None
        return self._problem(operands)

    def _problem(self, operands: Operands) -> Problem:
        prompt, config = self._asked(operands), self._config
        answer = "".join(
            part if isinstance(part, str) else _written(part.value(operands)) for part in self._answer
        )
        if not answer.strip():
            raise ConfigError(f"answer: nothing is left of it, with {operands}")
        return Problem(
            key=key_of(self._setting.domain, prompt),
            primitive=config.primitive or self._setting.domain,
            level=config.level,
            messages=(*self._setting.system, Message(role="user", content=prompt)),
            expected=answer,
            form=config.grading or "",
        )

    # --- reading a prompt back -------------------------------------------------------------

    def _readings(self, text: str) -> Iterator[Operands]:
        """Yield ways to fill the places so that they cover the text; a bounded number of them."""
        states: list[tuple[int, Operands]] = [(0, {})]
        for part in self._prompt_stripped():
            states = [
                (at + len(piece), found)
                for at, operands in states
                for piece, found in self._continued(part, operands, text, at)
            ][:_READINGS]
        yield from (operands for at, operands in states if at == len(text))

    def _prompt_stripped(self) -> list[str | Place]:
        parts = list(self._prompt)
        if parts and isinstance(parts[0], str):
            parts[0] = parts[0].lstrip()
        if parts and isinstance(parts[-1], str):
            parts[-1] = parts[-1].rstrip()
        return parts

    def _continued(
        self, part: str | Place, operands: Operands, text: str, at: int
    ) -> Iterator[tuple[str, Operands]]:
        if isinstance(part, str):
            if text.startswith(part, at):
                yield part, operands
            return
        known = [operands[part.text]] if part.text in operands else self._readable(part.text, text, at)
        for value in known:
            if text.startswith(str(value), at):
                yield str(value), {**operands, part.text: value}

    def _readable(self, name: str, text: str, at: int) -> list[Value]:
        """Return the operand's values that the text may go on with, the longest first."""
        values = self._values[name]
        if isinstance(values, range):
            digits = re.compile(r"-?[0-9]{1,20}").match(text, at)
            found = digits.group() if digits else ""
            heads = (found[:end] for end in range(len(found), 0, -1))
            return [int(head) for head in heads if head != "-" and int(head) in values]
        return sorted((v for v in values if text.startswith(str(v), at)), key=lambda v: -len(str(v)))


def _values(given: Numbers | tuple[int | str, ...]) -> range | tuple[int | str, ...]:
    return range(given.low, given.high + 1, given.step) if isinstance(given, Numbers) else given


def _parts(text: str, where: str) -> list[str | Place]:
    """Cut a template at its places; `{{` and `}}` are braces."""
    parts: list[str | Place] = []
    end = 0
    for found in _PLACE.finditer(text):
        parts.append(text[end : found.start()])
        end = found.end()
        if found.group() in ("{", "}"):
            raise ConfigError(f"{where}: a single {found.group()}", hint="a brace itself is written twice")
        parts.append(found.group()[0] if found[1] is None else Place(found[1].strip()))
    parts.append(text[end:])
    merged: list[str | Place] = []
    for part in parts:
        if isinstance(part, str) and merged and isinstance(merged[-1], str):
            merged[-1] += part
        elif part != "":
            merged.append(part)
    return merged


def _within(where: str, text: str, operands: Mapping[str, object]) -> Expression:
    try:
        return Expression(text, operands)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error.what}", hint=error.hint) from None


def _written(value: Value) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
