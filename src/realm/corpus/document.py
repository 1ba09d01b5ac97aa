"""What a source hands out: one chat, text, work item or event, and where it came from."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from realm.core.records import Message, Name, Record

Line = Annotated[int, Field(ge=1)]
Maker = Literal["human", "model", "mixed", "program"]
Form = Literal["chat", "preference", "text", "record"]


class Origin(Record):
    """Where a document came from; every row made of it carries this."""

    source: Name
    """The source as the lab names it."""
    kind: str
    """The source's kind: `repo`, `claude_code`, …"""
    path: str = ""
    """File within the source, with `/`; never absolute, empty where there is none."""
    first_line: Line | None = None
    last_line: Line | None = None
    commit: str | None = None
    session: str | None = None
    work_item: str | None = None
    rig: str | None = None
    contributor: str | None = None
    licence: str = "unknown"
    """SPDX identifier, or `unknown`; what is unknown is never published."""
    made_by: Maker = "human"
    generator: str | None = None
    """`id@version` of the program or model that made it."""
    at: datetime | None = None
    """When it was made, as the source says, in UTC."""


class Document(Record):
    """One unit of a source.

    A chat has `messages`, a preference also `rejected` (the whole chat again with the worse ending), a text
    has `text`, a record (work item, event) only `fields`. `fields` holds what shapers need to know beyond
    the words: a session's outcome, a work item's fields. Everything in it is scrubbed like the words.
    """

    id: Annotated[str, Field(min_length=1, max_length=512)]
    """Unique and stable within its source, readable: `src/query.c#120`, a session's id."""
    form: Form
    messages: tuple[Message, ...] = ()
    rejected: tuple[Message, ...] = ()
    text: str | None = None
    language: str | None = None
    """Of a text: `lua`, `gdscript`, `c`, `cpp`, `python`, `markdown`, `toml`, … or None for prose."""
    fields: dict[str, Any] = Field(default_factory=dict)
    """JSON values only."""
    tags: dict[str, str | int] = Field(default_factory=dict)
    """Role, task, domain and other words to partition by."""
    group: str = ""
    """What must stay on one side of the train/eval split: session, file or work item; default the id."""
    origin: Origin

    @model_validator(mode="after")
    def _one_form(self) -> Self:
        has = {
            "chat": bool(self.messages) and not self.rejected and self.text is None,
            "preference": bool(self.messages) and bool(self.rejected) and self.text is None,
            "text": self.text is not None and not self.messages and not self.rejected,
            "record": self.text is None and not self.messages and not self.rejected and bool(self.fields),
        }
        if not has[self.form]:
            raise ValueError(f"the content is not that of a {self.form}")
        return self

    @property
    def place(self) -> str:
        """Where it is, for tallies: source and id."""
        return f"{self.origin.source}/{self.id}"

    @property
    def split_group(self) -> str:
        """What the train/eval split keeps together."""
        return f"{self.origin.source}/{self.group or self.id}"
