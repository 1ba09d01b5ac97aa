"""Rows for the tests of checks and of what comes behind them."""

from __future__ import annotations

import itertools
from typing import Any

from realm.core.records import Example, Message
from realm.core.seeds import rng
from realm.corpus.check import CHECKS, Context, Problem
from realm.corpus.document import Document, Origin
from realm.corpus.shaper import Row


def example(asked: str, said: str, **tags: str | int) -> Example:
    turns = (Message(role="user", content=asked), Message(role="assistant", content=said))
    return Example(messages=turns, tags=tags)


def preference(asked: str, better: str, worse: str) -> Example:
    return Example(messages=example(asked, better).messages, rejected=example(asked, worse).messages)


def row(of: Example, number: int = 0, **origin: Any) -> Row:
    given = {"source": "made", "kind": "chat_jsonl", "path": "chat.jsonl", "first_line": number + 1, **origin}
    return Row(
        example=of,
        origin=Origin(**given),
        document=f"chat.jsonl#{number + 1}",
        shaper="as_is@1",
        group=f"made/chat.jsonl#{number + 1}",
    )


def rows(examples: list[Example], **origin: Any) -> list[Row]:
    return [row(each, number, **origin) for number, each in enumerate(examples)]


def text_document(id_: str, text: str, fields: dict[str, Any] | None = None, **origin: Any) -> Document:
    given = {"source": "town", "kind": "documents", **origin}
    return Document(id=id_, form="text", text=text, fields=fields or {}, origin=Origin(**given))


def prose(count: int, *, least: int = 40, most: int = 120, purpose: str = "prose") -> list[str]:
    """Return texts of made-up words, a few of them frequent as in real prose."""
    draw = rng("tests/made_rows", purpose)
    lexicon = ["".join(draw.choices("abcdefghijklmnopqrstuvwxyz", k=draw.randint(2, 9))) for _ in range(3000)]
    shares = list(itertools.accumulate(1 / (rank + 3) for rank in range(len(lexicon))))
    return [
        " ".join(draw.choices(lexicon, cum_weights=shares, k=draw.randint(least, most))) for _ in range(count)
    ]


def chats(count: int, purpose: str = "chats") -> list[Example]:
    """Return ordinary chats: answers differ, as do questions."""
    asked, said = prose(count, least=10, most=50, purpose=f"{purpose}/asked"), prose(count, purpose=purpose)
    return [example(one, two) for one, two in zip(asked, said, strict=True)]


def problems_of(kind: Any, given: list[Row], context: Context | None = None) -> list[Problem]:
    """Return everything a check has against some rows."""
    check = CHECKS.build(kind)
    check.begin(context or Context())
    found = [problem for each in given for problem in check.see(each)]
    return [*found, *check.end()]
