"""The turns of a session's conversation, and what happened in it in order."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from realm.core.records import Message
from realm.corpus.agents.blocks import ERROR, NO_RESULT, Call, Result, rendered
from realm.corpus.agents.shell import Command, commands
from realm.corpus.agents.transcript import Chain, Entry
from realm.corpus.tally import Tally

_MODELS = 16
"""Most models of one session that are named."""


class Said(NamedTuple):
    """Words of the person."""

    line: int
    text: str


class Did(NamedTuple):
    """A call of a tool and what came of it."""

    line: int
    name: str
    command: str
    """The shell line, empty for other tools."""
    result: str | None
    """None where the session holds none."""
    error: bool
    ran: tuple[Command, ...] = ()
    """The shell line's commands, as far as they can be told apart."""


class Trouble(NamedTuple):
    """What the tool itself said: `interrupted`, or the text of an API error."""

    line: int
    text: str


Event = Said | Did | Trouble


@dataclass(slots=True)
class Conversation:
    """A chain as turns and as events."""

    messages: list[Message] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    tools: dict[str, int] = field(default_factory=dict)
    models: list[str] = field(default_factory=list)


def converse(chain: Chain, *, thinking: bool, tally: Tally, where: str) -> Conversation:
    """Turn a chain into turns: neighbours of one role are one turn, results follow their calls.

    A turn whose call had to be cut has weight 0: what is not whole is not trained.
    """
    talk = Conversation()
    for run in _runs(chain.entries):
        if not run[0].speaks:
            talk.events.extend(Trouble(entry.line, entry.trouble) for entry in run)
        elif run[0].role == "user":
            _ask(talk, run)
        else:
            _answer(talk, run, chain.results, thinking, tally, where)
    return talk


def _runs(entries: list[Entry]) -> list[list[Entry]]:
    """Group neighbours of one role; a person's line that only holds results ends no answer's run."""
    runs: list[list[Entry]] = []
    for entry in entries:
        if entry.role == "user" and not entry.content.text:
            # The next answer saw these results, so it is another turn, even without words between.
            runs.append([])
        elif runs and runs[-1] and runs[-1][0].role == entry.role:
            runs[-1].append(entry)
        else:
            runs.append([entry])
    return [run for run in runs if run]


def _ask(talk: Conversation, run: list[Entry]) -> None:
    for entry in run:
        talk.events.append(Said(entry.line, entry.content.text))
    text = "\n\n".join(entry.content.text for entry in run)
    if talk.messages and talk.messages[-1].role == "user":
        text = f"{talk.messages.pop().content}\n\n{text}"
    talk.messages.append(Message(role="user", content=text))


def _answer(
    talk: Conversation,
    run: list[Entry],
    results: dict[str, Result],
    thinking: bool,
    tally: Tally,
    where: str,
) -> None:
    parts: list[str] = []
    calls: list[tuple[int, Call]] = []
    for entry in run:
        thought = entry.content.thought
        if thought and thinking:
            parts.append(f"<think>\n{thought}\n</think>")
        elif thought:
            tally.add("thoughts left out", f"{where}:{entry.line}")
        parts.append(entry.content.text)
        calls.extend((entry.line, call) for call in entry.content.calls)
        if entry.model and len(talk.models) < _MODELS and entry.model not in talk.models:
            talk.models.append(entry.model[:200])
    parts.extend(rendered(call) for _, call in calls)
    content = "\n\n".join(filter(None, parts))
    if content:
        weight = 0.0 if any(call.cut for _, call in calls) else 1.0
        talk.messages.append(Message(role="assistant", content=content, weight=weight))
    _use(talk, calls, results, tally, where)


def _use(
    talk: Conversation, calls: list[tuple[int, Call]], results: dict[str, Result], tally: Tally, where: str
) -> None:
    answered = any(call.id in results for _, call in calls)
    for line, call in calls:
        result = results.get(call.id)
        talk.tools[call.name] = talk.tools.get(call.name, 0) + 1
        said, error = (result.text, result.error) if result else (None, False)
        talk.events.append(Did(line, call.name, call.command, said, error, tuple(commands(call.command))))
        if result is None:
            tally.add("a call without a result", f"{where}:{line}")
        if answered:
            talk.messages.append(Message(role="tool", content=_shown(result)))


def _shown(result: Result | None) -> str:
    if result is None:
        return NO_RESULT
    return f"{ERROR}\n{result.text}" if result.error else result.text
