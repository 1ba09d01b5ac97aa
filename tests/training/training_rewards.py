"""Rewards that tests name as Python functions."""

from __future__ import annotations

from collections.abc import Sequence

from realm.core.records import Example, Message


def ones(prompt: Sequence[Message], answer: str, row: Example) -> float:
    """Reward every ① of an answer, per character, so that endless answers gain nothing."""
    return answer.count("①") / max(1, len(answer))


def letters(prompt: Sequence[Message], answer: str, row: Example) -> float:
    """Reward every letter of an answer, per character; models that know nothing write some."""
    return sum(character.isalpha() for character in answer) / max(1, len(answer))


def echo(prompt: Sequence[Message], answer: str, row: Example) -> float:
    """Reward answers that are what the user said."""
    return float(answer == prompt[-1].content) + 0.5 * float(row.expected == answer)


def broken(prompt: Sequence[Message], answer: str, row: Example) -> float:
    return float("nan")
