"""Two chats that begin alike, made into a prompt with a better and a worse ending."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from realm.core.records import Message

Chat = Sequence[Message]


class Pair(NamedTuple):
    """Both chats whole, as a preference row holds them."""

    chosen: tuple[Message, ...]
    rejected: tuple[Message, ...]


def shared(first: Chat, second: Chat) -> int:
    """Return how many turns both chats begin with."""
    alike = 0
    for one, other in zip(first, second, strict=False):
        if (one.role, one.content) != (other.role, other.content):
            break
        alike += 1
    return alike


def to_answer(chat: Chat) -> Chat:
    """Return the chat up to its last assistant turn: what comes behind it trains nothing."""
    last = max((index for index, turn in enumerate(chat) if turn.role == "assistant"), default=-1)
    return chat[: last + 1]


def pair(better: Chat, worse: Chat) -> Pair | str:
    """Join two chats at their longest common beginning, or say why they are no pair.

    A difference counts as the model's where both go on with an assistant turn. Assistant turns of the
    common beginning get weight 0.
    """
    better, worse = to_answer(better), to_answer(worse)
    if not better or not worse:
        return "no answer in the session"
    alike = shared(better, worse)
    if alike == len(better) == len(worse):
        return "same text"
    if not any(turn.role == "user" for turn in better[:alike]):
        return "no common beginning"
    if alike in (len(better), len(worse)):
        return "one session is the beginning of the other"
    if better[alike].role != "assistant" or worse[alike].role != "assistant":
        return "the sessions part at a turn that is not the assistant's"
    prompt = [
        turn.model_copy(update={"weight": 0.0}) if turn.role == "assistant" else turn
        for turn in better[:alike]
    ]
    return Pair((*prompt, *better[alike:]), (*prompt, *worse[alike:]))
