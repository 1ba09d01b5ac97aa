"""Records that cross rooms. Frozen, closed, and safe to write as JSON."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

_SHA256 = r"^sha256:[0-9a-f]{64}$"
_NAME = r"^[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}$"
PATTERNS = {
    _SHA256: "sha256: and 64 hex digits",
    _NAME: "1 to 128 of the letters A to Z and a to z, digits, `_`, `-` and, not first, `.`",
}
"""What the patterns mean, in words."""

Sha256 = Annotated[str, Field(pattern=_SHA256)]
Weight = Annotated[float, Field(ge=0, le=1000, allow_inf_nan=False)]
Name = Annotated[str, Field(pattern=_NAME)]
Seconds = Annotated[float, Field(gt=0, le=1e6)]
"""How long something is waited for; of much longer ones the clocks of systems make an error."""


class Record(BaseModel):
    """Base of every value that rooms exchange: immutable, no unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ArtifactKind(StrEnum):
    """What a content-named directory in the vault holds."""

    DATASET = "datasets"
    COLLECTION = "collections"
    CHECKPOINT = "checkpoints"
    MODEL = "models"
    EXPORT = "exports"


class ArtifactRef(Record):
    """Name published bytes by their content."""

    kind: ArtifactKind
    hash: Sha256
    size_bytes: Annotated[int, Field(ge=0)]


class Fence(Record):
    """Prove that a writer still holds what it writes to. Higher numbers win."""

    name: str
    number: Annotated[int, Field(ge=0)]


class Priority(StrEnum):
    """Order of queued jobs; within one priority the oldest runs first."""

    HIGH = "high"
    NORMAL = "normal"
    LOW = "low"


class Message(Record):
    """One turn of a chat."""

    role: Literal["system", "user", "assistant", "tool"]
    content: str
    weight: Weight = 1.0
    """How much this turn counts where it is trained; 0 leaves it out of the loss."""


class Example(Record):
    """One row to train on: a chat (loss on the assistant) or plain text (loss on all of it).

    A preference is a chat with the better ending in `messages` and the worse one in `rejected`. A
    prompt to answer under a reward ends with the user's turn and may say what is `expected`.
    """

    messages: tuple[Message, ...] = ()
    rejected: tuple[Message, ...] = ()
    """The whole chat again, with the worse ending; empty unless the row is a preference."""
    expected: str | None = None
    """The right answer, for methods that grade answers; never shown to the model."""
    text: str | None = None
    weight: Weight = 1.0
    """How much the row counts against others in its step."""
    tags: dict[str, str | int] = Field(default_factory=dict)
    """Where the row came from and what it drills: primitive, level, key."""

    @model_validator(mode="after")
    def _one_form(self) -> Self:
        if bool(self.messages) == (self.text is not None):
            raise ValueError("an example has either messages or text")
        if self.rejected and not self.messages:
            raise ValueError("a rejected ending belongs to a chat")
        return self
