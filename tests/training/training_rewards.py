"""Rewards that tests name as Python functions."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from realm.core.errors import RefusedError
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


def noted(prompt: Sequence[Message], answer: str, row: Example) -> float:
    """Reward letters; note which rank graded which answer in the file that the row names."""
    with Path(str(row.tags["graded"])).open("a") as file:
        file.write(f"{os.environ.get('RANK', '0')} {(prompt[-1].content, answer)!r}\n")
    return letters(prompt, answer, row)


def refusing(prompt: Sequence[Message], answer: str, row: Example) -> float:
    """Grade nothing of a row that is tagged so."""
    if row.tags.get("graded") == "never":
        raise RefusedError("this row is not graded")
    return letters(prompt, answer, row)
