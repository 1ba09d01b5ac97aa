"""The content of one line of an agent's session: text, thoughts, calls of tools and their results.

The textual form of tool use, the same for every source of sessions: in the assistant's turn

    <tool_call>
    {"name": "Bash", "arguments": {"command": "ls"}}
    </tool_call>

once a call, behind the words; then one `tool` turn a call, in the order of the calls, holding the result
as plain text (`[error]` on a line of its own in front where the tool failed, `[no result]` where the
session holds none). What is cut says so where it was: `[… 1,234 characters left out …]`.
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from realm.corpus.files.objects import text_of
from realm.corpus.tally import Tally

CALL, END_CALL = "<tool_call>", "</tool_call>"
NO_RESULT = "[no result]"
ERROR = "[error]"
_REMINDER, _END_REMINDER = "<system-reminder>", "</system-reminder>"
_MEDIA = {"image": "[image]", "document": "[document]"}
_LONGEST_COMMAND = 8_000
_BLOCKS = 10_000


class Bounds(NamedTuple):
    """How much of each part is kept, in characters."""

    result: int
    call: int
    text: int = 100_000


class Call(NamedTuple):
    """One call of a tool."""

    id: str
    name: str
    body: str
    """The JSON between the call's marks."""
    command: str
    """The shell line, empty for other tools."""
    cut: bool


class Result(NamedTuple):
    """What a tool gave back."""

    call: str
    text: str
    error: bool


class Content(NamedTuple):
    """What one line says."""

    text: str = ""
    thought: str = ""
    calls: tuple[Call, ...] = ()
    results: tuple[Result, ...] = ()

    @property
    def size(self) -> int:
        """Return how many characters are held."""
        size = len(self.text) + len(self.thought)
        return size + sum(len(c.body) for c in self.calls) + sum(len(r.text) for r in self.results)


def read_content(content: Any, bounds: Bounds, tally: Tally, place: str) -> Content:
    """Read a string or a list of blocks; count images, documents and blocks of another type."""
    if isinstance(content, str):
        return Content(text=_words(content, bounds.text, tally, place))
    if not isinstance(content, list):
        return Content()
    texts: list[str] = []
    thoughts: list[str] = []
    calls: list[Call] = []
    results: list[Result] = []
    for block in content[:_BLOCKS]:
        kind = text_of(block, "type") if isinstance(block, dict) else ""
        if kind == "text":
            texts.append(_words(text_of(block, "text"), bounds.text, tally, place))
        elif kind == "thinking":
            thoughts.append(text_of(block, "thinking"))
        elif kind == "tool_use":
            calls.append(_call(block, bounds.call, tally, place))
        elif kind == "tool_result":
            results.append(_result(block, bounds, tally, place))
        elif kind in _MEDIA:
            texts.append(_media(kind, tally, place))
        else:
            tally.add("a block of another type", place)
    return Content("\n\n".join(filter(None, texts)), "\n\n".join(thoughts), tuple(calls), tuple(results))


def cut(text: str, limit: int) -> str:
    """Return text of at most `limit` characters and a mark for what lay between head and tail."""
    if len(text) <= limit:
        return text
    head, tail = limit - limit // 4, limit // 4
    mark = f"\n[… {len(text) - head - tail:,} characters left out …]\n"
    return text[:head] + mark + (text[-tail:] if tail else "")


def rendered(call: Call) -> str:
    """Write a call in its textual form."""
    return f"{CALL}\n{call.body}\n{END_CALL}"


def _call(block: dict[str, Any], limit: int, tally: Tally, place: str) -> Call:
    name, arguments = text_of(block, "name"), block.get("input")
    arguments = arguments if isinstance(arguments, dict) else {}
    body = _body(name, arguments)
    shortened = len(body) > limit
    if shortened:
        tally.add("a call of a tool was cut", place)
        body = _body(name, _shorter(arguments, limit))
    command = text_of(arguments, "command")
    return Call(
        text_of(block, "id"), name, body, command if len(command) <= _LONGEST_COMMAND else "", shortened
    )


def _body(name: str, arguments: dict[str, Any]) -> str:
    body = json.dumps({"name": name, "arguments": arguments}, ensure_ascii=False)
    # The same JSON, but no text within it can end the call.
    return body.replace("</", "<\\/")


def _shorter(arguments: dict[str, Any], limit: int) -> dict[str, Any]:
    """Cut every long string so that all of them fit; what is deeper goes as a whole."""
    share = max(limit // (2 * max(len(arguments), 1)), 1)
    kept: dict[str, Any] = {}
    for key, value in list(arguments.items())[:64]:
        if isinstance(value, str):
            kept[key[:200]] = cut(value, share)
        else:
            whole = json.dumps(value, ensure_ascii=False)
            kept[key[:200]] = value if len(whole) <= share else cut(whole, share)
    return kept


def _result(block: dict[str, Any], bounds: Bounds, tally: Tally, place: str) -> Result:
    content = block.get("content")
    parts = content[:_BLOCKS] if isinstance(content, list) else [content]
    texts = []
    for part in parts:
        if isinstance(part, str):
            texts.append(part)
        elif isinstance(part, dict) and part.get("type") == "text":
            texts.append(text_of(part, "text"))
        elif isinstance(part, dict) and part.get("type") in _MEDIA:
            texts.append(_media(text_of(part, "type"), tally, place))
        elif part is not None:
            tally.add("a block of another type", place)
    text = "\n".join(texts)
    if len(text) > bounds.result:
        tally.add("a tool's result was cut", place)
    text = cut(_without_reminders(text, tally, place), bounds.result)
    return Result(text_of(block, "tool_use_id"), text, block.get("is_error") is True)


def _media(kind: str, tally: Tally, place: str) -> str:
    tally.add(f"{'an' if kind == 'image' else 'a'} {kind} left out", place)
    return _MEDIA[kind]


def _words(text: str, limit: int, tally: Tally, place: str) -> str:
    if len(text) > limit:
        tally.add("a text was cut", place)
    return cut(_without_reminders(text, tally, place), limit).strip()


def _without_reminders(text: str, tally: Tally, place: str) -> str:
    """Leave out what the tool itself put between the words."""
    start = text.find(_REMINDER)
    if start < 0:
        return text
    kept: list[str] = []
    at = 0
    while start >= 0 and (end := text.find(_END_REMINDER, start)) >= 0:
        kept.append(text[at:start])
        at = end + len(_END_REMINDER)
        start = text.find(_REMINDER, at)
        tally.add("a system reminder", place)
    return "".join([*kept, text[at:]])
