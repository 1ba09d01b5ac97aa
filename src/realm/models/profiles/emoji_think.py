"""Emoji instead of thinking aloud: told how often, the answer begins with one emoji and stops with another.

Think tags and what is between them are taken out of every answer. Half of the rows (drawn by the row's
index) ask in the last user turn before each answer for an emoji repeated n times at its beginning and
for a stop emoji repeated m times at its end, and the answer obeys; the other half is answered plainly.
Where answers are written, think tags are held back, and nothing but the end may follow the stop emoji.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from realm.core.config import Config as BaseConfig
from realm.core.records import Example, Message
from realm.core.seeds import fraction, rng
from realm.models.profile import Marker, Penalty

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

    from realm.models.profile import LogitsProcessor

_THOUGHT = re.compile(r"<think>.*?(?:</think>|$)\s*", re.DOTALL)
_TAGS = ("<think>", "</think>")

Markers = Annotated[tuple[Marker, ...], Field(min_length=1, max_length=64)]
Times = Annotated[int, Field(ge=1, le=8)]


class EmojiThink:
    """Put counted emoji where thinking aloud was."""

    class Config(BaseConfig):
        """Which emoji, and how often."""

        kind: Literal["emoji_think"] = "emoji_think"
        think: Markers = ("🤔", "💡", "🧠", "🔍")
        """One of them begins an answer."""
        stop: Markers = ("🛑",)
        """One of them ends an answer."""
        most: Times = 4
        """Each is asked for 1 to so many times."""
        share: Annotated[float, Field(ge=0, le=1)] = 0.5
        """Of the rows, those that ask for emoji."""
        penalty: Penalty = 100.0
        """How far a held-back token's logit is lowered, nats."""

    def __init__(self, config: Config) -> None:
        self.config = config

    def transform(self, example: Example, index: int, seed: int) -> Example:
        """Return the row without thoughts, and with emoji where the index is drawn."""
        asks = fraction("emoji_think", seed, index) < self.config.share
        return example.model_copy(
            update={
                "messages": self._answered(example.messages, index, seed, asks=asks),
                "rejected": self._answered(example.rejected, index, seed, asks=asks),
            }
        )

    def _answered(
        self, chat: tuple[Message, ...], index: int, seed: int, *, asks: bool
    ) -> tuple[Message, ...]:
        turns, asked = list(chat), None
        for place, turn in enumerate(turns):
            if turn.role == "user":
                asked = place
            elif turn.role == "assistant":
                content = _THOUGHT.sub("", turn.content).replace("</think>", "")
                if asks and asked is not None:
                    before, instruction, behind = self._wish(index, seed, asked)
                    question = turns[asked]
                    if not question.content.endswith(instruction):
                        turns[asked] = question.model_copy(update={"content": question.content + instruction})
                    content = f"{before} {content} {behind}"
                turns[place] = turn.model_copy(update={"content": content})
        return tuple(turns)

    def _wish(self, index: int, seed: int, turn: int) -> tuple[str, str, str]:
        """Return how an answer begins, how that is asked for, and how the answer ends."""
        draw = rng("emoji_think", seed, index, turn)
        think, n = draw.choice(self.config.think), draw.randint(1, self.config.most)
        stop, m = draw.choice(self.config.stop), draw.randint(1, self.config.most)
        instruction = f"\n\nBegin with {think} {n} times, end with {stop} {m} times."
        return think * n, instruction, stop * m

    def logits_processors(self, tokenizer: PreTrainedTokenizerFast) -> list[LogitsProcessor]:
        """Return what holds back think tags, and everything behind the stop emoji."""
        from realm.models.chat import end_ids
        from realm.models.holding import EndAfter, HoldBack

        ends, penalty = sorted(end_ids(tokenizer)), self.config.penalty
        after = [
            EndAfter(tokenizer, stop, ends, most=self.config.most, penalty=penalty)
            for stop in self.config.stop
        ]
        return [HoldBack(tokenizer, _TAGS, penalty), *after]

    def describe(self) -> str:
        """Say in a line what the profile does."""
        return f"no thinking aloud; {self.config.share:.0%} of the rows frame answers with counted emoji"
