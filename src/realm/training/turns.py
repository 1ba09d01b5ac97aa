"""Which turns of a chat are trained, where a method decides it and not the data."""

from __future__ import annotations

from collections.abc import Sequence

from realm.core.records import Example, Message


def trained_from(messages: Sequence[Message], begin: int, weight: float) -> Example:
    """Return a chat whose assistant turns count alike from turn `begin` on, and not before it."""
    return Example(
        messages=tuple(
            message.model_copy(update={"weight": 1.0 if place >= begin else 0.0})
            for place, message in enumerate(messages)
        ),
        weight=weight,
    )


def only_last_trained(example: Example) -> Example:
    """Return the chat with its last turn trained alone."""
    return trained_from(example.messages, len(example.messages) - 1, example.weight)


def common_turns(first: Sequence[Message], second: Sequence[Message]) -> int:
    """Return how many turns two chats begin with alike."""
    pairs = zip(first, second, strict=False)
    turns = 0
    for one, other in pairs:
        if (one.role, one.content) != (other.role, other.content):
            break
        turns += 1
    return turns
