"""The form of self-correction: a proposed answer to a problem, and what is asked about it.

The user's turn is

    <problem>
    ---                      a rule: three or more of - = * _ ─ alone on a line
    Proposed answer:
    <answer>
                             an empty line
    <question>

and a row's type says what it teaches: `identify_incorrect` (the proposal is wrong; say so), `correction`
(it is wrong; give the right one) or `confirm_correct` (it is right).
"""

from __future__ import annotations

import re
from typing import Literal, NamedTuple, get_args

from realm.core.text import printable

Type = Literal["identify_incorrect", "correction", "confirm_correct"]

TYPES: tuple[Type, ...] = get_args(Type)
TAG = "type"
"""The tag that names a row's type."""

_FORM = re.compile(
    r"(?P<problem>.*\S.*?)\n[ \t]*(?:-{3,}|={3,}|\*{3,}|_{3,}|─{3,})[ \t]*\n\s*"
    r"Proposed answer:[ \t]*\n?(?P<proposal>.*\S.*?)\n[ \t]*\n(?P<question>\s*\S.*)",
    re.DOTALL,
)


class Proposal(NamedTuple):
    """What a user's turn of this form holds."""

    problem: str
    answer: str
    question: str


def write(proposal: Proposal) -> str:
    """Return the user's turn."""
    return f"{proposal.problem}\n---\nProposed answer:\n{proposal.answer}\n\n{proposal.question}"


def read(text: str) -> Proposal | None:
    """Return what a user's turn holds, None where it has another form."""
    form = _FORM.fullmatch(text)
    return None if form is None else Proposal(form["problem"], form["proposal"].strip(), form["question"])


def fault(kind: object, text: str, reply: str, expected: str | None) -> str:
    """Say what is wrong with a row of this type, user's turn and reply; empty where nothing is."""
    if kind not in TYPES:
        found = "has none" if kind is None else f"says {printable(str(kind), 40)!r}"
        return f"the tag `{TAG}` {found}, not one of {', '.join(TYPES)}"
    proposal = read(text)
    if proposal is None:
        return "the user's turn is no problem, rule, `Proposed answer:` block and question"
    if not reply.strip():
        return "the assistant's reply is empty"
    if expected is None:
        return ""
    right = proposal.answer == expected.strip()
    if right != (kind == "confirm_correct"):
        return f"the proposed answer is {'right' if right else 'wrong'} in a {kind}"
    return ""
