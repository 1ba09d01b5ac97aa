"""Turns of chats as other tools write them, as `Message`s.

A turn is `{role, content}` or `{from, value}`. What a `Message` has no place for becomes text:

- a call of a tool stands behind the words of the assistant's turn, as in `blocks`:

      <tool_call>
      {"name": "weather", "arguments": {"city": "Oslo"}}
      </tool_call>

- its result is a `tool` turn of plain text. Results follow their calls in the calls' order, whatever
  order they were written in, so that the place says what an id said; a call without one, where others
  have theirs, gets `[no result]`;
- a list of tools stands at the end of the system turn (one is made where there is none), one definition
  a line:

      <tools>
      {"type": "function", "function": {"name": "weather", "parameters": {…}}}
      </tools>

Left out and noted: speakers' names, thoughts. Refused, because the words would lack what they speak
of: a turn with an image, audio or a file. Refused, because nothing is said: a user's or an assistant's
turn with neither words nor calls, whose `content` is missing, null or has no text.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from realm.core.errors import DataError
from realm.core.records import Message
from realm.corpus.agents.blocks import CALL, END_CALL, NO_RESULT
from realm.corpus.files import lines
from realm.corpus.files.lines import refusal

Role = Literal["system", "user", "assistant", "tool"]
Note = Callable[[str], None]
"""Takes a fixed phrase for what a row loses on its way."""

_TOOLS, _END_TOOLS = "<tools>", "</tools>"
_SLASH = "<\\/"
_JSON_DEPTH = 64
_HEAVIEST = 1000

_ROLES: dict[str, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "model": "assistant",
    "bot": "assistant",
    "function_call": "assistant",
    "tool_call": "assistant",
    "tool": "tool",
    "observation": "tool",
    "function_response": "tool",
    "tool_response": "tool",
}
_CALLING = frozenset({"function_call", "tool_call"})
"""Speakers whose words are a call."""
_PLAIN = frozenset({"role", "content"})
_THOUGHTS = ("thinking", "reasoning", "reasoning_content")


class _Turn(NamedTuple):
    message: Message
    calls: tuple[str, ...] = ()
    """Ids of its calls; empty text for a call without one."""
    answers: str = ""
    """Id of the call that a tool's turn answers."""


def turns(value: Any, note: Note) -> list[Message]:
    """Read a list of turns, or one turn. Raises DataError, with a fixed reason, for what is none."""
    if isinstance(value, dict):
        value = [value]
    if not isinstance(value, list):
        raise refusal("the turns are no list")
    read = [_turn(item, note) for item in value]
    if any(turn.calls for turn in read):
        return _in_order(read, note)
    return [turn.message for turn in read]


def said(role: Role, content: Any) -> Message:
    """Return one whole turn of a string. Raises DataError, with a fixed reason, for another type."""
    if not isinstance(content, str):
        raise refusal(f"what the {role} says is no string")
    return Message(role=role, content=content)


def with_system(messages: Sequence[Message], system: Any, tools: Any) -> list[Message]:
    """Return a chat with a system text and a list of tools in front.

    A system turn that the chat already has wins over `system`; the tools join it.
    """
    found = list(messages)
    if not found or found[0].role != "system":
        if isinstance(system, str) and system.strip():
            found.insert(0, Message(role="system", content=system))
        elif system is not None and not isinstance(system, str):
            raise refusal("the system text is no string")
    listed = _tools_text(tools)
    if not listed:
        return found
    if found and found[0].role == "system":
        content = f"{found[0].content}\n\n{listed}" if found[0].content.strip() else listed
        return [found[0].model_copy(update={"content": content}), *found[1:]]
    return [Message(role="system", content=listed), *found]


def call_text(name: str, arguments: Any) -> str:
    """Write a call of a tool. Arguments that are a JSON object's text are written as that object."""
    if isinstance(arguments, str):
        arguments = _decoded(arguments)
    body = json.dumps({"name": name, "arguments": arguments}, ensure_ascii=False)
    # The same JSON, but no text within it can end the call.
    return f"{CALL}\n{body.replace('</', _SLASH)}\n{END_CALL}"


def _turn(item: Any, note: Note) -> _Turn:
    if not isinstance(item, dict):
        raise refusal("a turn is no object")
    role, speaker = _role_of(item)
    if (
        item.keys() == _PLAIN
        and item["content"]
        and isinstance(item["content"], str)
        and speaker not in _CALLING
    ):
        return _Turn(Message(role=role, content=item["content"]))
    words = _words(item.get("content", item.get("value")))
    if speaker in _CALLING:
        calls = _written_calls(words)
        words = ""
    else:
        calls = _calls(item) if role == "assistant" else []
    if role == "assistant" and not words and not calls:
        words = _words(item.get("refusal"))
    _note_losses(item, role, note)
    content = "\n\n".join(part for part in (words, *(text for _, text in calls)) if part)
    if not content and role in ("assistant", "user"):
        raise refusal(
            f"{'an assistant' if role == 'assistant' else 'a user'}'s turn without content or calls"
        )
    message = Message(role=role, content=content, weight=_weight(item, role))
    answers = item.get("tool_call_id")
    return _Turn(message, tuple(call for call, _ in calls), answers if isinstance(answers, str) else "")


def _role_of(item: Mapping[str, Any]) -> tuple[Role, str]:
    """Return a turn's role and the word for its speaker.

    `function` is a result as a `role` (the former name of `tool`), but under `from` some write calls and
    others results with it: such a row is refused.
    """
    speaker = item.get("role", item.get("from"))
    if not isinstance(speaker, str):
        raise refusal("a turn without a speaker")
    role = _ROLES.get(speaker) or _ROLES.get(speaker.lower())
    if role is None and speaker == "function" and "role" in item:
        role = "tool"
    if role is None:
        raise refusal("a turn of an unknown speaker")
    return role, speaker.lower()


def _words(content: Any) -> str:
    """Return the text of a string or a list of text blocks."""
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise refusal("a turn's content is neither text nor blocks")
    texts = []
    for block in content:
        text = block.get("text", block.get("refusal")) if isinstance(block, dict) else block
        if not isinstance(text, str):
            raise refusal("a turn with an image, audio or a file")
        texts.append(text)
    return "\n".join(texts)


def _weight(item: Mapping[str, Any], role: Role) -> float:
    weight = item.get("weight")
    if weight is None or role != "assistant":
        return 1.0
    if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 <= weight <= _HEAVIEST:
        raise refusal("a turn's weight is no number from 0 to 1000")
    return float(weight)


def _note_losses(item: Mapping[str, Any], role: Role, note: Note) -> None:
    if role != "tool" and item.get("name"):
        note("a speaker's name left out")
    if any(item.get(key) for key in _THOUGHTS):
        note("thoughts left out")
    if item.get("audio") or item.get("images") or item.get("image"):
        raise refusal("a turn with an image, audio or a file")


def _calls(item: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the ids and texts of a turn's calls."""
    calls = item.get("tool_calls") or []
    former = item.get("function_call")
    if not isinstance(calls, list):
        raise refusal("the calls of a turn are no list")
    return [_call(call) for call in ([*calls, {"function": former}] if former else calls)]


def _call(call: Any) -> tuple[str, str]:
    made = call.get("function", call) if isinstance(call, dict) else None
    name = made.get("name") if isinstance(made, dict) else None
    if not isinstance(made, dict) or not isinstance(name, str):
        raise refusal("a call of a tool without a name")
    number = call.get("id")
    return (number if isinstance(number, str) else ""), call_text(name, made.get("arguments", {}))


def _written_calls(words: str) -> list[tuple[str, str]]:
    """Return the calls that a turn's text is the JSON of: one object or a list of them."""
    value = _decoded(words)
    calls = value if isinstance(value, list) else [value]
    if not calls:
        raise refusal("a call of a tool without a name")
    return [_call(call) for call in calls]


def _in_order(read: Sequence[_Turn], note: Note) -> list[Message]:
    """Put the results that follow a turn with calls into the calls' order."""
    ordered: list[Message] = []
    at = 0
    while at < len(read):
        asking = read[at]
        ordered.append(asking.message)
        at += 1
        if not asking.calls:
            continue
        end = next((i for i in range(at, len(read)) if read[i].message.role != "tool"), len(read))
        ordered.extend(_results(asking.calls, read[at:end], note))
        at = end
    return ordered


def _results(calls: Sequence[str], given: Sequence[_Turn], note: Note) -> list[Message]:
    by_id = {turn.answers: turn.message for turn in given}
    if "" in by_id or "" in calls or len(by_id) != len(given) or len(set(calls)) != len(calls):
        return [turn.message for turn in given]
    if by_id.keys() - set(calls):
        raise refusal("a tool's result without its call")
    if not given:
        return []
    if len(by_id) < len(calls):
        note("a call without a result")
    return [by_id.get(call) or Message(role="tool", content=NO_RESULT) for call in calls]


def _tools_text(tools: Any) -> str:
    """Return the text of a list of tools, or of a string that holds one; empty where there are none."""
    if isinstance(tools, str):
        decoded = _decoded(tools)
        tools = decoded if isinstance(decoded, list) else [tools] if tools.strip() else []
    if isinstance(tools, dict):
        tools = [tools]
    if not isinstance(tools, list):
        if tools is None:
            return ""
        raise refusal("the tools are no list")
    texts = [tool if isinstance(tool, str) else json.dumps(tool, ensure_ascii=False) for tool in tools]
    return "\n".join([_TOOLS, *texts, _END_TOOLS]) if texts else ""


def _decoded(text: str) -> Any:
    """Return the object or list that a text is the strict JSON of, else the text itself."""
    if text.lstrip()[:1] not in ("{", "["):
        return text
    try:
        found = lines.parse(f'{{"value":{text}}}'.encode(), _JSON_DEPTH + 1)
    except (DataError, UnicodeEncodeError):
        return text
    return found["value"] if len(found) == 1 else text
