"""A generator that looks answers up, in the place of a model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from realm.core.records import Message


class Table:
    """Answers each prompt by a function."""

    def __init__(self, answer: Callable[[tuple[Message, ...]], str]) -> None:
        self._answer = answer
        self.description = {"backend": "table"}

    def generate(
        self,
        prompts: Sequence[Sequence[Message]],
        *,
        max_tokens: int,
        temperature: float = 0.0,
        top_p: float = 1.0,
        seed: int = 0,
    ) -> list[str]:
        return [self._answer(tuple(prompt)) for prompt in prompts]

    def stream(
        self,
        messages: Sequence[Message],
        *,
        max_tokens: int,
        temperature: float = 0.0,
        top_p: float = 1.0,
        seed: int = 0,
    ) -> Iterator[str]:
        yield self._answer(tuple(messages))

    def loss(self, chats: Sequence[Sequence[Message]]) -> tuple[float, int]:
        return 0.5 * len(chats), len(chats)
