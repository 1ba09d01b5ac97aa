"""How long rows are: all that an estimate has to know of data."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from realm.core.records import Example, Message, Record
from realm.training.dropping import Account, Cause, Tally
from realm.training.splitting import cut_chats

if TYPE_CHECKING:
    from realm.training.recipe import Recipe
    from realm.training.settings import Settings

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


def context_of(recipe: Recipe, built_for: int | None) -> int | None:
    """Return how many tokens a model reads in a recipe's run; None where that is not known."""
    return recipe.model.context_tokens or built_for


def limit_of(recipe: Recipe, built_for: int | None) -> int:
    """Return the tokens of the longest sequence that a recipe trains of a model built for so many."""
    context = context_of(recipe, built_for)
    return recipe.rules.max_tokens if context is None else min(recipe.rules.max_tokens, context)


def equal(tokens: int, *, trained_share: float = 1.0) -> Lengths:
    """Return the figures of rows that are all this long."""
    return Lengths(
        mean_tokens=tokens, longest_tokens=tokens, attended_tokens=tokens / 2, trained_share=trained_share
    )


def of_tokens(tokens: Sequence[int], trained: Sequence[int]) -> Lengths | None:
    """Return the figures of rows of so many tokens; None of no rows."""
    if not tokens:
        return None
    total = sum(tokens)
    squares = sum(count * count for count in tokens)
    mean = total / len(tokens)
    return Lengths(
        rows=len(tokens),
        mean_tokens=mean,
        deviation_tokens=math.sqrt(max(0.0, squares / len(tokens) - mean * mean)),
        longest_tokens=max(tokens),
        attended_tokens=squares / total / 2,
        trained_share=min(1.0, max(1, sum(trained)) / total),
    )


def measure(
    examples: Iterable[Example], tokenizer: Path | None, settings: Settings
) -> tuple[Lengths | None, Account]:
    """Return the figures of rows and what becomes of them, cut and left out as training does.

    With no `tokenizer.json` tokens are counted by their characters. A chat's turns get what a template adds;
    both endings of a preference are one row. None where no row is left. Not covered: profiles, and what a
    method makes of a row.
    """
    found = _Rows(tokenizer, settings)
    for example in examples:
        found.take(example)
    found.cut()
    return of_tokens(found.tokens, found.trained), found.account()


class _Rows:
    """Rows while they are measured."""

    def __init__(self, tokenizer: Path | None, settings: Settings) -> None:
        self.tokens: list[int] = []
        """Of each row that is kept; a piece is a row."""
        self.trained: list[int] = []
        self._count = _counter(tokenizer)
        self._settings = settings
        self._limit = settings.max_tokens
        self._cuts = settings.over_long == "split" and not settings.generates
        self._tally = Tally(self._limit)
        self._long: list[Example] = []
        """Chats that are to be cut."""
        self._rows = self._split = self._pieces = 0

    def take(self, example: Example) -> None:
        """Count a row, or keep it to be cut."""
        self._rows += 1
        if example.text is not None:
            self._take_text(example, self._count(example.text) + 1)
            return
        parts = [self._sized(chat) for chat in (example.messages, example.rejected) if chat]
        sizes, trained = [size for size, _ in parts], [part for _, part in parts]
        if self._silent(example, min(trained)):
            self._tally.silent(example, self._settings.roles)
        elif max(sizes) <= self._limit:
            self._keep(sum(sizes), sum(trained))
        elif self._cuts and len(parts) == 1:
            self._long.append(example)
        else:
            self._tally.too_long(max(sizes), parts=len(parts))

    def cut(self) -> None:
        """Cut the chats that are to be cut."""

        def sizes_of(chats: Sequence[Example]) -> list[int]:
            return [self._sized(chat.messages)[0] for chat in chats]

        for pieces in cut_chats(self._long, self._settings.roles, self._limit, sizes_of):
            for piece in pieces:
                self._keep(*self._sized(piece.messages))
            if not pieces:
                self._tally.leave_out(Cause.NO_EXCHANGE)
            self._split += bool(pieces)
            self._pieces += len(pieces)

    def account(self) -> Account:
        """Return what became of the rows."""
        return Account(
            rows=self._rows,
            kept=len(self.tokens),
            pieces=self._pieces,
            split=self._split,
            dropped=dict(self._tally.dropped),
            lost={},
            tokens=sum(self.tokens),
            trained_tokens=sum(self.trained),
            shortest=self._tally.shortest,
            roles=tuple(sorted(self._tally.roles)),
        )

    def _take_text(self, example: Example, tokens: int) -> None:
        if tokens < 2 or self._silent(example, tokens - 1):
            self._tally.silent(example, self._settings.roles)
        elif tokens <= self._limit:
            self._keep(tokens, tokens)
        elif self._cuts:
            # Pieces overlap by one token.
            sizes = [min(self._limit, tokens - at) for at in range(0, tokens - 1, self._limit - 1)]
            for size in sizes:
                self._keep(size, size)
            self._split += 1
            self._pieces += len(sizes)
        else:
            self._tally.too_long(tokens, parts=1)

    def _keep(self, tokens: int, trained: int) -> None:
        self.tokens.append(tokens)
        self.trained.append(trained)

    def _silent(self, example: Example, trained: int) -> bool:
        return not self._settings.generates and not (trained and example.weight)

    def _sized(self, chat: Sequence[Message]) -> tuple[int, int]:
        """Return the tokens of a chat, and how many of them are trained."""
        sizes = [self._count(turn.content) + _TURN_TOKENS for turn in chat]
        roles = self._settings.roles
        trained = [size for turn, size in zip(chat, sizes, strict=True) if turn.role in roles and turn.weight]
        return sum(sizes), sum(trained)


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
