"""Decision cases: a situation, the actions that are allowed in it, and the one that is right.

A case is `{situation, allowed_actions, expected}`. `expected` is an action, a list of actions of which each
is right, or an object with `action`. The shape of published patrol cases is read too: `{description, vars:
{role, role_context, formula_step, allowed_actions, shell_output, context}, assert: […]}`, where the right
actions are those that an assertion compares `action` with by `===`; nothing of an assertion is run, and what
else it asks for is left out.

An answer is `{"action", "reason"?, "target"?, "urgency"?, "preserve"?}` or the bare action.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, ValidationError, model_validator

from realm.core.config import explain
from realm.core.errors import DataError
from realm.core.hashing import canonical_json, hash_json, short
from realm.core.records import Message, Record
from realm.corpus.files import lines
from realm.evaluation.agents.documents import read_rows

_LONGEST_ANSWER = 16_000
_DEPTH = 8
Action = Annotated[str, Field(min_length=1, max_length=100, pattern=r"^\S(.*\S)?$")]
_COMPARED = re.compile(r"\baction === ([\"'])([A-Za-z0-9_ -]{1,100})\1")
_FENCE = "```"
_SYSTEM = """\
You decide what to do in a situation. Answer with one JSON object and nothing else: "action" (one of the \
allowed actions), "reason" (a sentence), and where they matter "target" and "urgency" (low, normal, high or \
critical)."""


class Decision(Record):
    """An answer."""

    action: str
    reason: str = ""
    target: str | None = None
    urgency: str | None = None
    preserve: bool | str | None = None


class Case(Record):
    """One situation."""

    situation: Annotated[str, Field(min_length=1, max_length=100_000)]
    allowed_actions: Annotated[tuple[Action, ...], Field(min_length=2, max_length=100)]
    expected: Annotated[tuple[Action, ...], Field(min_length=1)]
    """Each of them is right."""
    id: str = ""
    role: str = "decision"
    """Who decides; the primitive that it tests."""

    @model_validator(mode="after")
    def _allowed(self) -> Self:
        strange = [action for action in self.expected if action not in self.allowed_actions]
        if strange:
            raise ValueError(f"expected {strange[0]!r} is not among the allowed actions")
        return self

    @property
    def key(self) -> str:
        """Its name: the same for the same case, wherever it stands in a file."""
        content = [self.situation, sorted(self.allowed_actions), sorted(self.expected)]
        return f"decision {self.id or short(hash_json(content))}"

    def messages(self) -> tuple[Message, ...]:
        """Return how it is asked."""
        allowed = ", ".join(self.allowed_actions)
        return (
            Message(role="system", content=_SYSTEM),
            Message(role="user", content=f"{self.situation.strip()}\n\nAllowed actions: {allowed}"),
        )

    def solution(self) -> str:
        """Return a right answer."""
        return canonical_json({"action": self.expected[0], "reason": ""})

    def is_right(self, answer: str) -> bool:
        """Tell whether an answer decides rightly. Takes bounded time for any answer."""
        return decided(answer) in self.expected


def decided(answer: str) -> str | None:
    """Return the action of an answer, None where it is neither a decision nor one bare line."""
    text = answer.strip()
    if len(answer) > _LONGEST_ANSWER:
        return None
    if text.startswith(_FENCE) and text.endswith(_FENCE):
        text = text.removesuffix(_FENCE).partition("\n")[2].strip()
    if not text.startswith("{"):
        return text if text and "\n" not in text else None
    try:
        return Decision.model_validate(lines.parse(text.encode(errors="surrogatepass"), _DEPTH)).action
    except (DataError, ValidationError):
        return None


def read_cases(path: Path) -> tuple[Case, ...]:
    """Read cases from YAML, JSON or JSON Lines. Raises DataError with the line of the first faulty one."""
    found: dict[str, Case] = {}
    for line, row in read_rows(path):
        try:
            case = Case.model_validate(_published(row) if "vars" in row else _plain(row))
        except ValidationError as error:
            raise DataError("; ".join(explain(Case, error)), file=path.name, line=line) from None
        if case.key in found:
            raise DataError(f"{case.key} is there twice", file=path.name, line=line)
        found[case.key] = case
    return tuple(found.values())


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    expected = row.get("expected")
    if isinstance(expected, dict):
        expected = expected.get("action")
    return {**row, "expected": [expected] if isinstance(expected, str) else expected}


def _published(row: dict[str, Any]) -> dict[str, Any]:
    given = row["vars"] if isinstance(row["vars"], dict) else {}
    parts = ("role_context", "formula_step", "shell_output", "context")
    told = [f"{name.replace('_', ' ')}:\n{given[name]}" for name in parts if given.get(name)]
    asserted = row.get("assert")
    texts = (
        [one.get("value") for one in asserted if isinstance(one, dict)] if isinstance(asserted, list) else []
    )
    actions = [
        match[2] for text in texts if isinstance(text, str) for match in _COMPARED.finditer(text[:4000])
    ]
    return {
        "id": row.get("description", ""),
        "role": given.get("role", "decision"),
        "situation": "\n\n".join(told),
        "allowed_actions": _listed(given.get("allowed_actions")),
        "expected": list(dict.fromkeys(actions)),
    }


def _listed(value: Any) -> Any:
    """Return a list that may be written as JSON in a string."""
    if not isinstance(value, str):
        return value
    try:
        return lines.parse(f'{{"list": {value}}}'.encode(errors="surrogatepass"), _DEPTH)["list"]
    except DataError:
        return value
