"""Whole questions of BIN: a call in one of its forms, written, answered and read back."""

from __future__ import annotations

from typing import Annotated, NamedTuple, Self

from pydantic import Field, model_validator

from realm.core.config import Config
from realm.skills.bits import auxiliary, keys
from realm.skills.bits.operations import MAX_BITS, OPERATIONS, possible, solve
from realm.skills.bits.working import VARIANTS
from realm.skills.bits.writing import Call, Script, call, read_call

PLAIN = ""
"""Form of a question for the result alone."""
MARKS = "+-*/<=>_:;"
"""Characters that matter in checks, working and auxiliary questions."""
LONGEST = 1200
"""Characters that a question has at most."""

_HEADS = {
    "Compute: ": PLAIN,
    **{f"Compute [{variant}]: ": variant for variant in VARIANTS},
    **{task.title: name for name, task in auxiliary.TASKS.items()},
}
_TITLES = {form: head for head, form in _HEADS.items()}
_NAMES = {name: name for name in OPERATIONS}


Share = Annotated[float, Field(ge=0, le=1000)]


class Variants(Config):
    """How often each form is asked, as relative shares; a form that is not named never is."""

    plain: Share = 0.0
    """The result alone."""
    verify: Share = 0.0
    """And a check in decimal."""
    show_work: Share = 0.0
    """And the key steps."""
    trace: Share = 0.0
    """And one line for each position."""

    @model_validator(mode="after")
    def _some(self) -> Self:
        if not any(self.shares().values()):
            raise ValueError("one of the variants needs a share above 0")
        return self

    def shares(self) -> dict[str, float]:
        """Return the share of each form."""
        return {PLAIN: self.plain, "verify": self.verify, "show-work": self.show_work, "trace": self.trace}


class Question(NamedTuple):
    """A call and how it is asked."""

    form: str
    """Empty, a variant or an auxiliary task."""
    call: Call
    detail: str = ""
    """What an auxiliary task shows besides the call."""
    key: keys.Key | None = None


def write(question: Question, *, echo: bool) -> tuple[str, str]:
    """Return the user turn and the right answer."""
    form, asked = question.form, question.call
    above = question.key.text() if question.key else ""
    if form in auxiliary.TASKS:
        rest, answer = auxiliary.TASKS[form].write(asked, question.detail)
        return f"{above}{_TITLES[form]}{rest}", answer
    text = asked.text()
    answer = f"{text} = {asked.result}" if echo else asked.result
    if form:
        answer = "\n".join([answer, *VARIANTS[form](asked)])
    return f"{above}{_TITLES[form]}{text}", answer


def read(text: str, script: Script, operations: frozenset[str]) -> Question | None:
    """Read a user turn back; None for anything that is not one, letter by letter."""
    if len(text) > LONGEST:
        return None
    names, key, rest = _NAMES, None, text
    if text.startswith("Key: "):
        found = keys.read(text, operations)
        if found is None:
            return None
        key, end = found
        names, rest, script = dict(key.names), text[end:], script._replace(signs=key.signs)
    question = _read_body(rest, script, names)
    if question is None or question.call.operation not in operations:
        return None
    question = question._replace(key=key)
    return question if write(question, echo=False)[0] == text else None


def _read_body(text: str, script: Script, names: dict[str, str]) -> Question | None:
    head = next((head for head in _HEADS if text.startswith(head)), None)
    if head is None:
        return None
    form, rest, detail = _HEADS[head], text.removeprefix(head), ""
    if form in auxiliary.TASKS:
        match = auxiliary.TASKS[form].pattern.fullmatch(rest)
        if match is None:
            return None
        rest, detail = match["call"], match["detail"]
    found = read_call(script, rest, names)
    if found is None:
        return None
    asked, blank = found
    if (blank is not None) != (form == "blank"):
        return None
    if blank is not None:
        filled = _filled(asked, blank, detail)
        if filled is None:
            return None
        asked, detail = filled, str(blank)
    if not possible(asked.operation, asked.operands) or not auxiliary_fits(form, asked.operation):
        return None
    if asked.known.signed and not fits(asked):
        return None
    again = call(asked.script, asked.operation, asked.operands, width=asked.width, name=asked.name)
    if form in auxiliary.TASKS and not auxiliary.TASKS[form].belongs(again, detail):
        return None
    return Question(form, again, detail)


def fits(asked: Call) -> bool:
    """Say whether a signed problem and its result can be written in its width."""
    half = 1 << asked.width - 1
    numbers = (*asked.operands, solve(asked.operation, asked.operands))
    return asked.width <= MAX_BITS and all(-half <= n < half for n in numbers)


def auxiliary_fits(form: str, operation: str) -> bool:
    """Say whether an operation may be asked in a form."""
    return form not in auxiliary.TASKS or form in auxiliary.tasks_of(operation)


def _filled(asked: Call, place: int, result: str) -> Call | None:
    """Return a call with its blank operand found from the result."""
    known, script = asked.known, asked.script
    if known.answer == "decimal":
        value = script.read_decimal(result)
    else:
        value = script.read_binary(result, signed=known.signed)
    if value is None or known.blank is None:
        return None
    operand = known.blank(place, asked.operands[place - 1], value)
    operands = list(asked.operands)
    operands[place] = operand
    return asked._replace(operands=tuple(operands))
