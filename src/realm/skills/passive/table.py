"""The table of a skill: primitives, the questions that ask for them, and their wordings."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from string import Formatter

from realm.skills.passive.spaces import Operands, Space, Value, value
from realm.skills.skill import PrimitiveInfo


def _as_is(operands: Operands, rng: random.Random) -> Operands:
    return operands


def _named_as_asked(operands: Operands) -> Operands | None:
    return operands


@dataclass(frozen=True, eq=False)
class Question:
    """One kind of question: where its operands come from, how it is worded and what is right."""

    name: str
    """First word of the key. Questions of one name differ in wording or hold different operands."""
    wordings: tuple[str, ...]
    """Templates with `{0}`, `{1}` … for the asked operands; which one is used is no part of the key."""
    spaces: Mapping[int, Space]
    """Canonical operands by level; a level that is left out does not ask it."""
    solve: Callable[..., Value]
    """Asked operands → the right answer, ASCII without outer spaces or a trailing period."""
    vary: Callable[[Operands, random.Random], Operands] = _as_is
    """Canonical operands → asked ones: what may differ without being another problem."""
    canonical: Callable[[Operands], Operands | None] = _named_as_asked
    """Asked operands → canonical ones, None for what could not have been asked. Undoes `vary`."""

    def key(self, operands: Operands) -> str:
        """Return the name of a problem."""
        return f"{self.name} {'|'.join(map(str, operands))}"

    def level_of(self, operands: Operands) -> int | None:
        """Return the lowest level that holds these canonical operands."""
        held = (
            n for n, space in self.spaces.items() if space.arity == len(operands) and space.holds(operands)
        )
        return min(held, default=None)

    def read(self, prompt: str) -> tuple[Operands, Operands] | None:
        """Return (asked, canonical) operands of a question of this kind, None for anything else."""
        for wording in self.wordings:
            asked = _parse(wording, prompt)
            canonical = self.canonical(asked) if asked is not None else None
            if asked is not None and canonical is not None:
                return asked, canonical
        return None


@dataclass(frozen=True, eq=False)
class Primitive:
    """One thing that can be got right or wrong, and the questions for it, asked in turn."""

    info: PrimitiveInfo
    questions: tuple[Question, ...]


def primitive(
    info: tuple[str, str, str], difficulty: int, questions: tuple[Question, ...], track: str = ""
) -> Primitive:
    """Return a row of a table; `info` is (name, display name, description)."""
    name, display, description = info
    told = PrimitiveInfo(
        name=name, display_name=display, description=description, difficulty=difficulty, track=track
    )
    return Primitive(told, questions)


def write(wording: str, asked: Operands) -> str:
    """Return a wording with its fields filled in."""
    return wording.format(*asked)


@cache
def _fields(wording: str) -> tuple[tuple[str, int | None], ...]:
    """Return (text, number of the field behind it) from left to right."""
    parts = Formatter().parse(wording)
    return tuple((text, int(name) if name is not None else None) for text, name, *_ in parts)


def _parse(wording: str, prompt: str) -> Operands | None:
    """Read the fields back in one pass."""
    found: dict[int, str] = {}
    position, fields = 0, _fields(wording)
    for place, (text, field) in enumerate(fields):
        if not prompt.startswith(text, position):
            return None
        position += len(text)
        if field is None:
            break
        end = _end(prompt, position, fields, place + 1)
        if end < position:
            return None
        found[field] = prompt[position:end]
        position = end
    if sorted(found) != list(range(len(found))):
        return None
    asked = tuple(value(found[n]) for n in range(len(found)))
    return asked if write(wording, asked) == prompt else None


def _end(prompt: str, start: int, fields: tuple[tuple[str, int | None], ...], following: int) -> int:
    """Return where a field ends: at the next fixed text, and at the very end for the last one."""
    if following >= len(fields):
        return len(prompt)
    text, field = fields[following]
    if field is None:
        return len(prompt) - len(text) if prompt.endswith(text) else -1
    return prompt.find(text, start)
