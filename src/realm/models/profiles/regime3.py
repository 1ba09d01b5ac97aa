"""Answers between markers, calls in canonical form: `add(①, ⓪)` is trained as `⟨(add ① ⓪)⟩`.

Every user turn that is answered asks for the markers and the form. Where answers are written, nothing
but the end may follow the end marker. Not converted: calls whose arguments hold brackets or commas of
their own as text.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from realm.core.config import Config as BaseConfig
from realm.core.records import Example, Message

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

    from realm.models.profile import LogitsProcessor

_INNERMOST = re.compile(r"\b([A-Za-z_]\w*)\(([^()]*)\)")

Marker = Annotated[str, Field(min_length=1, max_length=32)]


class Regime3:
    """Wrap answers in markers and write calls as `(op a b)`."""

    class Config(BaseConfig):
        """The markers."""

        kind: Literal["regime3"] = "regime3"
        start: Marker = "⟨"
        end: Marker = "⟩"
        penalty: Annotated[float, Field(gt=0)] = 100.0
        """How far a held-back token's logit is lowered, nats."""

    def __init__(self, config: Config) -> None:
        self.config = config

    def transform(self, example: Example, index: int, seed: int) -> Example:
        """Return the row with answers wrapped and the wish for it in the user's turns."""
        return example.model_copy(
            update={
                "messages": self._answered(example.messages),
                "rejected": self._answered(example.rejected),
            }
        )

    def _answered(self, chat: tuple[Message, ...]) -> tuple[Message, ...]:
        start, end = self.config.start, self.config.end
        wish = f"\n\nAnswer between {start} and {end}, calls as (op a b)."
        turns = []
        for place, turn in enumerate(chat):
            content = turn.content
            if turn.role == "assistant":
                content = f"{start}{canonical(content)}{end}"
            elif turn.role == "user" and any(later.role == "assistant" for later in chat[place + 1 :]):
                content += wish
            turns.append(turn.model_copy(update={"content": content}))
        return tuple(turns)

    def logits_processors(self, tokenizer: PreTrainedTokenizerFast) -> list[LogitsProcessor]:
        """Return what holds back everything behind the end marker."""
        from realm.models.chat import end_ids
        from realm.models.holding import EndAfter

        ends = sorted(end_ids(tokenizer))
        return [EndAfter(tokenizer, self.config.end, ends, penalty=self.config.penalty)]

    def describe(self) -> str:
        """Say in a line what the profile does."""
        return f"answers between {self.config.start} and {self.config.end}, calls as (op a b)"


def canonical(text: str) -> str:
    """Write every call `op(a, b)` as `(op a b)`, inner ones first; a text with a NUL stays as it is."""
    if "\0" in text:
        return text
    kept: list[str] = []

    def fold(found: re.Match[str]) -> str:
        arguments = " ".join(part.strip() for part in found[2].split(",") if part.strip())
        kept.append(f"({found[1]} {arguments})" if arguments else f"({found[1]})")
        return f"\0{len(kept) - 1}\0"

    while _INNERMOST.search(text):
        text = _INNERMOST.sub(fold, text)
    while "\0" in text:
        text = re.sub("\0(\\d+)\0", lambda found: kept[int(found[1])], text)
    return text
