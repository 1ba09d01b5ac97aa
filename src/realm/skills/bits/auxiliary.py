"""Other questions about the same problem: is it right, what is missing, where is the error.

Each is made of the problem and a detail that the question shows, such as a proposed result, so that
the question can be written again from both.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from functools import cache
from typing import NamedTuple

from realm.skills.bits.operations import OPERATIONS, Operation
from realm.skills.bits.writing import Call

_DECIMALS = "0123456789"
_CALL = r"(?P<call>.{1,250}\))"


class Task(NamedTuple):
    """One kind of question."""

    title: str
    """What the question begins with."""
    pattern: re.Pattern[str]
    """The rest of the question; may have a group `detail`."""
    fits: Callable[[Operation], bool]
    """Whether it means something for an operation."""
    detail: Callable[[Call, random.Random], str]
    """Draw what the question shows."""
    write: Callable[[Call, str], tuple[str, str]]
    """(call, detail) → the rest of the question and its answer."""
    belongs: Callable[[Call, str], bool] = lambda call, detail: True
    """Whether a detail that was read can be of a call."""


def _unsigned_number(known: Operation) -> bool:
    return known.answer == "number" and not known.signed


def _digits(call: Call) -> str:
    return _DECIMALS if call.known.answer == "decimal" else call.script.signs


def _altered(call: Call, rng: random.Random) -> str:
    """Return the result with one digit changed."""
    place = rng.randrange(len(call.result))
    others = [sign for sign in _digits(call) if sign != call.result[place]]
    return call.result[:place] + rng.choice(others) + call.result[place + 1 :]


def _altered_places(call: Call, text: str) -> list[int]:
    return [i for i, (x, y) in enumerate(zip(text, call.result, strict=True)) if x != y]


def _is_proposal(call: Call, text: str) -> bool:
    """Say whether at most one digit of the result was changed."""
    if len(text) != len(call.result) or not set(text) <= set(_digits(call)):
        return False
    return len(_altered_places(call, text)) <= 1


def _proposed(call: Call, rng: random.Random) -> str:
    return call.result if rng.random() < 0.5 else _altered(call, rng)


def _truth(call: Call, detail: str) -> tuple[str, str]:
    return f"{call.text()} = {detail}", call.script.truth(detail == call.result)


def _error(call: Call, detail: str) -> tuple[str, str]:
    place = _altered_places(call, detail)[0]
    position = place if call.script.lsb else len(detail) - 1 - place
    return f"{call.text()} = {detail}", f"position {position} is {call.result[place]}"


def _is_error(call: Call, text: str) -> bool:
    return text != call.result and _is_proposal(call, text)


def _place(call: Call, rng: random.Random) -> str:
    return str(rng.randrange(len(call.arguments)))


def _blank(call: Call, detail: str) -> tuple[str, str]:
    return f"{call.text(blank=int(detail))} = {call.result}", call.arguments[int(detail)]


def _neighbour(call: Call, rng: random.Random) -> str:
    return call.script.binary(max(0, call.value + rng.choice((-2, -1, 0, 0, 1, 2))))


def _comparison(call: Call, detail: str) -> tuple[str, str]:
    other = call.script.read_binary(detail) or 0
    return f"{call.text()} and {detail}", "<=>"[(call.value > other) - (call.value < other) + 1]


def _is_number(call: Call, text: str) -> bool:
    number = call.script.read_binary(text)
    return number is not None and text == call.script.binary(number)


def _bits(call: Call, rng: random.Random) -> str:
    return str(max(1, call.value.bit_length() - rng.randrange(2)))


def _overflow(call: Call, detail: str) -> tuple[str, str]:
    return f"{detail} bits: {call.text()}", call.script.truth(call.value.bit_length() > int(detail))


def _reversed(call: Call, detail: str) -> tuple[str, str]:
    return call.text(), call.result[::-1]


_PROPOSAL = re.compile(rf"{_CALL} = (?P<detail>\S{{1,70}})")

TASKS: dict[str, Task] = {
    "truth": Task("True or false: ", _PROPOSAL, lambda known: True, _proposed, _truth, _is_proposal),
    "error": Task(
        "Find the error: ", _PROPOSAL, lambda known: known.answer != "truth", _altered, _error, _is_error
    ),
    "blank": Task("Fill in: ", _PROPOSAL, lambda known: known.blank is not None, _place, _blank),
    "comparison": Task(
        "Compare: ",
        re.compile(rf"{_CALL} and (?P<detail>\S{{1,70}})"),
        _unsigned_number,
        _neighbour,
        _comparison,
        _is_number,
    ),
    "overflow": Task(
        "Overflow in ",
        re.compile(rf"(?P<detail>[1-9][0-9]?) bits: {_CALL}"),
        _unsigned_number,
        _bits,
        _overflow,
    ),
    "reverse": Task(
        "Compute reversed: ",
        re.compile(rf"{_CALL}(?P<detail>)"),
        lambda known: known.answer == "number",
        lambda call, rng: "",
        _reversed,
    ),
}


@cache
def tasks_of(operation: str) -> tuple[str, ...]:
    """Return the names of the questions that mean something for an operation."""
    return tuple(name for name, task in TASKS.items() if task.fits(OPERATIONS[operation]))
