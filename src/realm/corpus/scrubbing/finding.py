"""What was found where, and what follows for the text."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, NamedTuple

from pydantic import Field

from realm.core.records import Record

Share = Annotated[float, Field(ge=0, le=1)]


class Verdict(StrEnum):
    """What happens to a text or document."""

    CLEAN = "clean"
    REPLACED = "replaced"
    """Everything found was certain enough to be replaced."""
    QUARANTINED = "quarantined"
    """Something was found that a person must decide."""


class Finding(Record):
    """One secret or piece of personal data. Holds no content."""

    kind: str
    start: Annotated[int, Field(ge=0)]
    """In characters of the string looked at, as is `end` (exclusive)."""
    end: Annotated[int, Field(ge=0)]
    confidence: Share
    personal: bool = False
    """A person's data, and not a secret."""
    where: str = ""
    """Which string, where there are several: a JSON pointer such as `/messages/0/content`.

    Below a key that was itself found, `#` and the string's number, so that no key is told.
    """


class Scrubbed(NamedTuple):
    """A text after scrubbing. Where the verdict is `quarantined`, `text` still has what is undecided.

    A tuple and not a record: one is made for each of millions of clean texts.
    """

    text: str
    findings: tuple[Finding, ...]
    verdict: Verdict
