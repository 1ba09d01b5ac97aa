"""Checks: what a row or a dataset must be before it is trained on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Protocol

from pydantic import Field

from realm.core.kinds import Family
from realm.core.records import Record
from realm.corpus.shaper import Row


class Depth(StrEnum):
    """How far a check looks, and what it costs. Each depth includes those before it."""

    QUICK = "quick"
    STANDARD = "standard"
    DEEP = "deep"


class Problem(Record):
    """What a check has against one row, or against the dataset as a whole (`row` None)."""

    row: Annotated[int, Field(ge=0)] | None
    """Position in the order of `see`."""
    reason: str
    """Short and fixed, so that it can be counted."""
    detail: str = ""
    """What exactly, printable and without the row's words."""
    drops: bool = True
    """Whether the row is left out; otherwise it is only told."""


class Context(Record):
    """What a check may need beyond the rows; each check says what it does without."""

    eval_hashes: frozenset[str] = frozenset()
    """Normalised hashes of evaluation problems, see `leakage`."""
    count_tokens: Callable[[str], int] | None = None
    """By the hero's tokenizer."""
    max_tokens: int | None = None
    """Longest sequence that the hero reads."""
    syntax: Callable[[str, str], str | None] | None = None
    """Takes a language and code; returns what is wrong, None where nothing is or nobody can tell."""
    seed: int = 0
    scratch: Path | None = None
    """Folder for temporary files; the system's where none is given."""


class Check(Protocol):
    """One pass over rows. A configured kind; its class has a nested `Config` with `kind`."""

    config: Any
    depth: Depth
    version: str

    def begin(self, context: Context) -> None:
        """Forget earlier rows."""
        ...

    def see(self, row: Row) -> Iterator[Problem]:
        """Look at the next row."""
        ...

    def end(self) -> Iterator[Problem]:
        """Say what only all rows together show."""
        ...


CHECKS: Family[Check] = Family("check", "realm.corpus.checks")
