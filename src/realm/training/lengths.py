"""How long rows are: all that an estimate has to know of data."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated

from pydantic import Field

from realm.core.records import Example, Record

_TURN_TOKENS = 3
"""What a chat template adds to a turn: its two marks and a line end."""
_CHARACTERS_A_TOKEN = 3.5
"""Of English and code in a vocabulary of 150,000; fewer in a small one."""


class Lengths(Record):
    """Rows in numbers. A row without what it was cut to counts for nothing."""

    rows: Annotated[int, Field(ge=0)] = 0
    """How many there are; 0 where that is not known."""
    mean_tokens: Annotated[float, Field(ge=2)]
    deviation_tokens: Annotated[float, Field(ge=0)] = 0.0
    """Standard deviation of their lengths."""
    longest_tokens: Annotated[int, Field(ge=2)]
    attended_tokens: Annotated[float, Field(ge=0)]
    """Tokens before it that a token attends to, on average."""
    trained_share: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Of the tokens."""

    def of_step(self, rows: int) -> float:
        """Return the tokens of an unlucky step: three deviations above the mean."""
        unlucky = rows * self.mean_tokens + 3 * math.sqrt(rows) * self.deviation_tokens
        return min(unlucky, float(rows * self.longest_tokens))


def equal(tokens: int, *, trained_share: float = 1.0) -> Lengths:
    """Return the figures of rows that are all this long."""
    return Lengths(
        mean_tokens=tokens, longest_tokens=tokens, attended_tokens=tokens / 2, trained_share=trained_share
    )


def of_tokens(tokens: Sequence[int], trained: Sequence[int], limit: int) -> Lengths | None:
    """Return the figures of rows of so many tokens; longer ones than `limit` are left out, or all."""
    kept = [(count, part) for count, part in zip(tokens, trained, strict=True) if 2 <= count <= limit]
    if not kept:
        return None
    total = sum(count for count, _ in kept)
    squares = sum(count * count for count, _ in kept)
    mean = total / len(kept)
    return Lengths(
        rows=len(kept),
        mean_tokens=mean,
        deviation_tokens=math.sqrt(max(0.0, squares / len(kept) - mean * mean)),
        longest_tokens=max(count for count, _ in kept),
        attended_tokens=squares / total / 2,
        trained_share=min(1.0, max(1, sum(part for _, part in kept)) / total),
    )


def measure(examples: Iterable[Example], tokenizer: Path | None, limit: int) -> Lengths | None:
    """Return the figures of rows; with no `tokenizer.json` tokens are counted by their characters.

    A chat's turns get what a template adds; both endings of a preference are one row. None where no
    row is within the limit.
    """
    count = _counter(tokenizer)
    tokens, trained = list[int](), list[int]()
    for example in examples:
        if example.text is not None:
            tokens.append(count(example.text) + 1)
            trained.append(tokens[-1])
            continue
        turns = [
            (turn.role, count(turn.content) + _TURN_TOKENS) for turn in example.messages + example.rejected
        ]
        tokens.append(sum(length for _, length in turns))
        trained.append(sum(length for role, length in turns if role == "assistant"))
    return of_tokens(tokens, trained, limit)


class _Characters:
    """Counts tokens by their usual length."""

    def __call__(self, text: str) -> int:
        return math.ceil(len(text) / _CHARACTERS_A_TOKEN)


class _Tokens:
    """Counts the tokens of a tokenizer."""

    def __init__(self, path: Path) -> None:
        from tokenizers import Tokenizer

        self._tokenizer = Tokenizer.from_file(str(path))

    def __call__(self, text: str) -> int:
        return len(self._tokenizer.encode(text, add_special_tokens=False).ids)


def _counter(tokenizer: Path | None) -> _Characters | _Tokens:
    return _Characters() if tokenizer is None else _Tokens(tokenizer)
