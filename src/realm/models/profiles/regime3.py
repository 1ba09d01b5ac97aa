"""Answers between markers, calls in canonical form: `add(①, ⓪)` is trained as `⟨(add ① ⓪)⟩`.

Every user turn that is answered asks for the markers and the form. Where answers are written, nothing
but the end may follow the end marker. Not converted: calls whose arguments hold brackets or commas of
their own as text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal, TypeAlias

from realm.core.config import Config as BaseConfig
from realm.core.records import Example, Message
from realm.models.profile import Marker, Penalty

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

    from realm.models.profile import LogitsProcessor

_BRACKET = re.compile(r"(?:(?<!\w)([A-Za-z_]\w*+))?\(|\)")
_Item: TypeAlias = "str | list[_Item]"


class Regime3:
    """Wrap answers in markers and write calls as `(op a b)`."""

    class Config(BaseConfig):
        """The markers."""

        kind: Literal["regime3"] = "regime3"
        start: Marker = "⟨"
        """Begins an answer."""
        end: Marker = "⟩"
        """Ends an answer."""
        penalty: Penalty = 100.0
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
    """Write every call `op(a, b)` as `(op a b)`, those inside it too.

    A call that holds brackets of another kind stays as it is. Takes time in proportion to the text, however
    deep its brackets are.
    """
    open_groups, place = [_Group("", None)], 0
    for found in _BRACKET.finditer(text):
        open_groups[-1].items.append(text[place : found.start()])
        place = found.end()
        if found.group() != ")":
            open_groups.append(_Group(found.group(), found[1]))
        elif len(open_groups) > 1:
            closed = open_groups.pop()
            open_groups[-1].items.append(closed.call() if closed.is_call else [*closed.whole(), ")"])
            open_groups[-1].is_call &= closed.is_call
        else:
            open_groups[-1].items.append(")")
    open_groups[-1].items.append(text[place:])
    return "".join(_texts([item for group in open_groups for item in group.whole()]))


class _Group:
    """What stands between two brackets."""

    def __init__(self, opening: str, name: str | None) -> None:
        self.opening = opening
        self.items: list[_Item] = []
        """Texts, and groups between them that are closed."""
        self.is_call = name is not None
        self._name = name

    def whole(self) -> list[_Item]:
        """Return the group as it stands, without its end."""
        return [self.opening, *self.items]

    def call(self) -> list[_Item]:
        """Return the group in canonical form."""
        arguments: list[list[_Item]] = [[]]
        for item in self.items:
            if isinstance(item, str):
                first, *others = item.split(",")
                arguments[-1].append(first)
                arguments += [[other] for other in others]
            else:
                arguments[-1].append(item)
        written: list[_Item] = [f"({self._name}"]
        for argument in map(_stripped, arguments):
            written += [" ", *argument] if argument else []
        return [*written, ")"]


def _stripped(argument: list[_Item]) -> list[_Item]:
    if isinstance(argument[0], str):
        argument[0] = argument[0].lstrip()
    if isinstance(argument[-1], str):
        argument[-1] = argument[-1].rstrip()
    return [item for item in argument if item]


def _texts(items: list[_Item]) -> Iterator[str]:
    """Yield the texts of nested lists in order; without recursion, since they may be deep."""
    waiting = [iter(items)]
    while waiting:
        for item in waiting[-1]:
            if isinstance(item, str):
                yield item
            else:
                waiting.append(iter(item))
                break
        else:
            waiting.pop()
