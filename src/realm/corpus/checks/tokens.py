"""Lengths in tokens, and how much of a row is trained at all."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from realm.core.config import Config as BaseConfig
from realm.corpus.check import Context, Depth, Problem
from realm.corpus.shaper import Row


class Tokens:
    """Count tokens as the hero's tokenizer does; the marks of its chat template are not counted.

    Without a counter no row is judged, and that is told once.
    """

    depth: Depth = Depth.STANDARD
    version: str = "1"

    class Config(BaseConfig):
        """Bounds on lengths and on the trained share."""

        kind: Literal["tokens"] = "tokens"
        min_trained: Annotated[int, Field(ge=0)] = 1
        """Tokens of a row that are trained."""
        min_trained_share: Annotated[float, Field(ge=0, le=1)] = 0.002
        """Trained tokens of all; below it a step is spent on what is masked."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self._row = 0
        self._context = Context()

    def begin(self, context: Context) -> None:
        """Take the counter and the longest sequence."""
        self._row = 0
        self._context = context

    def see(self, row: Row) -> Iterator[Problem]:
        """Say where a row is too long, or trains nearly nothing."""
        at, self._row = self._row, self._row + 1
        count = self._context.count_tokens
        if count is None:
            return
        example = row.example
        if example.text is not None:
            lengths = [(count(example.text), True)]
        else:
            chat = example.rejected if len(example.rejected) > len(example.messages) else example.messages
            lengths = [(count(turn.content), turn.role == "assistant" and turn.weight > 0) for turn in chat]
        total, trained = sum(n for n, _ in lengths), sum(n for n, is_trained in lengths if is_trained)
        longest = self._context.max_tokens
        if longest is not None and total > longest:
            yield Problem(
                row=at, reason="longer than the model reads", detail=f"{total:,} of {longest:,}", drops=False
            )
        # Of a prompt to answer under a reward nothing is trained as it stands.
        if example.expected is not None:
            return
        if trained < self.config.min_trained or trained < self.config.min_trained_share * total:
            yield Problem(
                row=at, reason="nearly all of it is masked", detail=f"{trained:,} of {total:,} trained"
            )

    def end(self) -> Iterator[Problem]:
        """Say that nothing was counted, where there was no counter."""
        if self._context.count_tokens is None and self._row:
            yield Problem(row=None, reason="tokens not counted: no tokenizer given", drops=False)
