"""Questions from a JSONL file, and how their answers are compared.

A row is `{"prompt": "…"}` or `{"messages": […]}` with `expected`, and may name `id`, `primitive` and
`category`. A file is read with bounds on its size, its lines and its rows.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AllowInfNan, Field, StrictFloat, StrictInt, ValidationError, model_validator

from realm.core.config import first_problem
from realm.core.errors import DataError, NotFoundError, StorageError
from realm.core.hashing import hash_json, short
from realm.core.records import Message, Record
from realm.core.seeds import seed
from realm.corpus.files import lines
from realm.skills.skill import Problem

MAX_BYTES = 64 << 20
"""Of a file."""
MAX_LINE_BYTES = 1 << 20
MAX_ROWS = 100_000
_MAX_ANSWER = 1 << 16
"""Characters of an answer that are looked at; a longer one is wrong."""

Grader = Literal["exact", "text", "choice", "number"]


class Row(Record):
    """One question as it stands in a file."""

    prompt: Annotated[str, Field(min_length=1)] | None = None
    messages: Annotated[tuple[Message, ...], Field(max_length=64)] = ()
    expected: Annotated[
        str | StrictInt | Annotated[StrictFloat, AllowInfNan(False)], Field(union_mode="left_to_right")
    ]
    id: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    """Names the question within its file; else it is named by its content."""
    primitive: Annotated[str, Field(min_length=1, max_length=100)] | None = None
    """What the question tests."""
    category: Annotated[str, Field(min_length=1, max_length=100)] | None = None
    """Stands for the primitive where none is named."""

    @model_validator(mode="after")
    def _asks(self) -> Self:
        if (self.prompt is None) == (not self.messages):
            raise ValueError("a row has either a prompt or messages")
        if self.messages and self.messages[-1].role != "user":
            raise ValueError("messages end with the user's turn")
        if not str(self.expected).strip():
            raise ValueError("expected is empty")
        return self

    def chat(self) -> tuple[Message, ...]:
        """Return the question as a chat."""
        return self.messages or (Message(role="user", content=self.prompt or ""),)

    @property
    def key(self) -> str:
        """Return what names the question."""
        if self.id is not None:
            return self.id
        asked = [[message.role, message.content] for message in self.chat()]
        return short(hash_json([asked, str(self.expected)]))

    @property
    def tests(self) -> str:
        """Return the primitive."""
        return self.primitive or self.category or "questions"

    def problem(self) -> Problem:
        """Return the question as a problem without a level."""
        return Problem(
            key=self.key,
            primitive=self.tests,
            level=0,
            messages=self.chat(),
            expected=str(self.expected),
        )


def read_rows(path: Path, grader: Grader) -> tuple[Row, ...]:
    """Read a file's questions. Raises DataError with the line, NotFoundError, StorageError."""
    rows: dict[str, Row] = {}
    try:
        with lines.open_regular(path) as file:
            size = os.fstat(file.fileno()).st_size
            if size > MAX_BYTES:
                reason = f"{size} bytes are more than {MAX_BYTES}"
                raise DataError(reason, file=str(path), hint="split the file")
            for number, line in enumerate(iter(lambda: file.readline(MAX_LINE_BYTES + 1), b""), start=1):
                if not line.isspace():
                    row = _row(line, path, number, grader)
                    _refuse_repeat(rows, row, path, number)
                    rows[row.key] = row
    except NotFoundError as error:
        raise NotFoundError(error.what, hint="paths are relative to the suite's file") from None
    except OSError as error:
        raise StorageError(f"{path}: {error.strerror}") from None
    if not rows:
        raise DataError("there are no rows", file=str(path))
    return tuple(rows.values())


def _row(line: bytes, path: Path, number: int, grader: Grader) -> Row:
    if len(line) > MAX_LINE_BYTES:
        raise DataError(f"a line is longer than {MAX_LINE_BYTES} bytes", file=str(path), line=number)
    try:
        row = Row.model_validate_json(line)
    except ValidationError as error:
        raise DataError(first_problem(error), file=str(path), line=number) from None
    if grade(grader, str(row.expected), str(row.expected)) != 1.0:
        reason = f"the grader {grader} cannot read the expected answer {str(row.expected)[:60]!r}"
        raise DataError(reason, file=str(path), line=number)
    return row


def _refuse_repeat(rows: Mapping[str, Row], row: Row, path: Path, number: int) -> None:
    if row.key in rows or len(rows) >= MAX_ROWS:
        reason = (
            f"{row.key!r} stands there twice" if row.key in rows else f"there are more than {MAX_ROWS} rows"
        )
        raise DataError(reason, file=str(path), line=number)


def sampled(rows: Iterable[Row], per_primitive: int) -> tuple[Row, ...]:
    """Return up to so many rows of each primitive, by a fixed draw; fewer are a part of more."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row.tests, []).append(row)
    chosen = (
        sorted(found, key=lambda row: seed("rows", row.key))[:per_primitive] for found in groups.values()
    )
    return tuple(row for found in chosen for row in found)


# --- graders --------------------------------------------------------------------------------

_VERSIONS: dict[Grader, str] = {"choice": "2"}


def grader_version(grader: Grader) -> str:
    """Return the version of a grader; it changes whenever an answer could be graded otherwise."""
    return _VERSIONS.get(grader, "1")


def grade(grader: Grader, expected: str, answer: str) -> float:
    """Return 1 for the expected answer, else 0. The whole answer counts, never a part of it.

    `exact`: the same characters but for whitespace at the ends. `text`: the same words, whatever case,
    spacing and marks at the ends. `choice`: the same option's letter (or number), alone or in brackets;
    words may follow a bracket, dot or colon, but another letter (or number) that stands alone among them
    is another option, and several are none. `number`: the same number, whatever zeros and separators.
    """
    if len(answer) > _MAX_ANSWER:
        return 0.0
    read = _READERS[grader]
    wanted, found = read(expected), read(answer)
    return float(wanted is not None and wanted == found)


_CHOICE = re.compile(r"\(?([A-Za-z]|[0-9]{1,2})(?:[).:](\s.*)?)?", re.DOTALL)
# Goes over all words; an "a", a first "A" and an "I" before a word are words, and so is what has a hyphen.
_OPTION = re.compile(
    r"(?:e\.g|i\.e)\b|[0-9]+\.[0-9]+"
    r"|(?:a|I|\AA)(?=\s+(?!(?:or|and)\b)[A-Za-z]{2})"
    r"|([A-Za-z]|[0-9]{1,2})(?!\w|['’]\w|-\w\w)"
    r"|\w[\w'’]*(?:-\w[\w'’]*)*"
)
_NUMBER = re.compile(r"[+-]?(?:[0-9]{1,3}(?:,[0-9]{3})+|[0-9]+)?(?:\.[0-9]+)?(?:[eE][+-]?[0-9]{1,3})?")
_MARKS = " \t\r\n.,;:!?\"'`“”‘’«»()[]{}*_"
_LONGEST_NUMBER = 400


def _exact(text: str) -> str | None:
    return text.strip() or None


def _text(text: str) -> str | None:
    words = " ".join(unicodedata.normalize("NFKC", text).casefold().split())
    return words.strip(_MARKS) or None


def _choice(text: str) -> str | None:
    chosen = text.strip()
    found = _CHOICE.fullmatch(chosen)
    if found is None:
        return None
    option = found[1].upper()
    others = {other.upper() for other in _OPTION.findall((found[2] or "").strip()) if other}
    several = any(other != option and other.isdigit() == option.isdigit() for other in others)
    return None if several else option


def _number(text: str) -> Decimal | None:
    plain = text.strip().removeprefix("=").strip().removesuffix(".").replace("−", "-")
    if len(plain) > _LONGEST_NUMBER or not _NUMBER.fullmatch(plain):
        return None
    try:
        return Decimal(plain.replace(",", ""))
    except InvalidOperation:
        return None


_READERS: dict[Grader, Callable[[str], str | Decimal | None]] = {
    "exact": _exact,
    "text": _text,
    "choice": _choice,
    "number": _number,
}
