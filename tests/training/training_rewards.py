"""Rewards that tests name as Python functions."""

from __future__ import annotations

import os
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch

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


def raising(prompt: Sequence[Message], answer: str, row: Example) -> float:
    return 1 / 0


def leaving(prompt: Sequence[Message], answer: str, row: Example) -> float:
    raise SystemExit(3)


def given(prompt: Sequence[Message], answer: str, row: Example) -> Any:
    """Return what the answer names."""
    return GIVEN[answer]


GIVEN: dict[str, Any] = {
    "float32": np.float32(8.0),
    "bool": np.bool_(True),
    "tensor": torch.tensor(0.5),
    "fraction": Fraction(1, 4),
    "largest": -1_000_000,
    "huge": 10**400,
    "unprintable": 10**5000,
    "float": 1e308,
    "infinity": float("inf"),
    "words": "8.0",
    "none": None,
    "several": np.ones(2),
}


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
