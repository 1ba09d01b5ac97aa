"""What every engine that writes text looks like to the other rooms."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from realm.core.records import Message


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
