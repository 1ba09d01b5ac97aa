"""What every engine that writes text looks like to the other rooms."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import exp
from typing import Annotated, Protocol, runtime_checkable

from pydantic import Field

from realm.core.records import Message, Record


class Confidence(Record):
    """How probable the assistant's whole answer was, its end token included where the template trains it."""

    log_probability: Annotated[float, Field(le=0, allow_inf_nan=False)]
    """Summed over the answer's tokens, nats; at temperature 1 and without what processors change."""
    tokens: Annotated[int, Field(ge=0)]
    """0 where there is no answer that could be predicted."""

    @property
    def product(self) -> float:
        """Return the probability of the whole answer: the product over its tokens."""
        return exp(self.log_probability)

    @property
    def mean(self) -> float:
        """Return the geometric mean over its tokens, which does not fall with length."""
        return exp(self.log_probability / max(1, self.tokens))


class Said(Record):
    """An answer, and how probable its very tokens were."""

    text: str
    """Without special tokens."""
    confidence: Confidence
    """The end token is included where the model came to it; not where the answer was cut."""


class Generator(Protocol):
    """Continue chats with the assistant's next turn."""

    @property
    def description(self) -> dict[str, str]:
        """Say what generates, for records of what was measured: backend, dtype, template hash."""
        ...

    def generate(
        self,
        prompts: Sequence[Sequence[Message]],
        *,
        max_tokens: int,
        temperature: float = 0.0,
        top_p: float = 1.0,
        seed: int = 0,
    ) -> list[str]:
        """Return one answer a prompt, in order, without special tokens.

        Temperature 0 takes the likeliest token. Otherwise an answer depends on its prompt,
        `seed` and its index alone, not on the other prompts.
        """
        ...

    def stream(
        self,
        messages: Sequence[Message],
        *,
        max_tokens: int,
        temperature: float = 0.0,
        top_p: float = 1.0,
        seed: int = 0,
    ) -> Iterator[str]:
        """Yield one answer in pieces as they are written; joined they equal `generate`'s."""
        ...

    def loss(self, chats: Sequence[Sequence[Message]]) -> tuple[float, int]:
        """Return the summed cross-entropy of what the assistant says, nats, and over how many tokens."""
        ...


@runtime_checkable
class Confident(Protocol):
    """A generator that knows how probable answers are; one behind an endpoint may not."""

    def confidences(self, chats: Sequence[Sequence[Message]]) -> list[Confidence]:
        """Return the confidence in what the assistant says in each chat, in order.

        Of a chat with several assistant turns all count. Raises DataError for a chat that does not fit.
        """
        ...

    def say(
        self,
        prompts: Sequence[Sequence[Message]],
        *,
        max_tokens: int,
        temperature: float = 0.0,
        top_p: float = 1.0,
        seed: int = 0,
    ) -> list[Said]:
        """Return what `Generator.generate` does, with the confidence in each answer."""
        ...
