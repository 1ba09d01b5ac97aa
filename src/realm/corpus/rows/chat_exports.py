"""Conversations as chat programs export them, each as one chat.

Two forms of an object are read:

    {id, title, create_time, update_time, messages: [{id, role, content, timestamp, metadata}]}
    {id | conversation_id, title, create_time, update_time, current_node,
     mapping: {NODE: {message: {author: {role, name}, content: {content_type, parts | text}, recipient,
     create_time, metadata} | null, parent, children}}}

The second is a tree, because an edited question or a second answer makes a branch. The path that ends at
`current_node` is the conversation (without one: at the newest leaf); the others are counted. Cycles and
missing parents end a path.

Times are ISO 8601 or seconds since 1970. Calls of tools are written as in `speech`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from realm.core.records import Message
from realm.corpus.files.lines import refusal
from realm.corpus.files.objects import utc
from realm.corpus.rows.speech import Note, call_text, turns

_FIRST_S, _LAST_S = 31_536_000, 250_000_000_000
_LONGEST_NAME = 300
# Tuples, since a file may hold lists where these words are expected, and a set cannot be asked for one.
_THOUGHTS = ("thoughts", "reasoning_recap")
_PROFILES = ("user_editable_context", "model_editable_context")
_ROLES = ("system", "user", "assistant", "tool")
_EVERYBODY = "all"


class Conversation(NamedTuple):
    """One conversation, ending with an answer."""

    id: str
    """Empty where it has none."""
    title: str
    created: datetime | None
    updated: datetime | None
    models: tuple[str, ...]
    """That the export names, in the order they answered."""
    messages: Sequence[Message]


def conversation(row: Mapping[str, Any], note: Note) -> Conversation:
    """Read a row. Raises DataError, with a fixed reason, where no answer is left or nothing fits."""
    models: list[str] = []
    mapping = row.get("mapping")
    if isinstance(mapping, dict):
        said = _from_tree(mapping, row.get("current_node"), models, note)
    elif isinstance(row.get("messages"), list):
        said = _from_list(row["messages"], models, note)
    else:
        raise refusal("a row that is no conversation")
    found = next((row[key] for key in ("id", "conversation_id") if _is_name(row.get(key))), "")
    return Conversation(
        id=found,
        title=row["title"][:_LONGEST_NAME] if isinstance(row.get("title"), str) else "",
        created=moment(row.get("create_time")),
        updated=moment(row.get("update_time")),
        models=tuple(dict.fromkeys(models)),
        messages=_up_to_an_answer(said, note),
    )


def moment(value: object) -> datetime | None:
    """Return a time in UTC, None where it is none or absurd."""
    if isinstance(value, int | float) and not isinstance(value, bool) and _FIRST_S <= value <= _LAST_S:
        return datetime.fromtimestamp(value, UTC)
    return utc(value)


def _is_name(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _up_to_an_answer(said: list[Message], note: Note) -> list[Message]:
    """Leave out what follows the last answer."""
    last = max((i for i, turn in enumerate(said) if turn.role == "assistant"), default=-1)
    if last < 0 or not any(turn.role == "user" for turn in said[:last]):
        raise refusal("a conversation without a question and an answer")
    if last + 1 < len(said):
        note("turns behind the last answer left out")
    return said[: last + 1]


def _from_list(messages: list[Any], models: list[str], note: Note) -> list[Message]:
    spoken = []
    for item in messages:
        if not isinstance(item, dict):
            raise refusal("a turn is no object")
        if item.get("content") in (None, "", []) and not item.get("tool_calls"):
            note("an empty turn left out")
            continue
        spoken.append(item)
        metadata = item.get("metadata")
        _remember(models, metadata.get("model") if isinstance(metadata, dict) else None)
    return turns(spoken, note)


def _from_tree(mapping: Mapping[str, Any], current: object, models: list[str], note: Note) -> list[Message]:
    nodes = {key: node for key, node in mapping.items() if isinstance(node, dict)}
    parents = {key: parent for key, node in nodes.items() if (parent := _parent(node, nodes)) is not None}
    inner = set(parents.values())
    leaves = [key for key in nodes if key not in inner]
    end = current if isinstance(current, str) and current in nodes else _newest(leaves, nodes)
    path = _path(end, parents)
    for leaf in leaves:
        if leaf not in path:
            note("an abandoned branch left out")
    said: list[Message] = []
    for key in reversed(path):
        message = nodes[key].get("message")
        turn = _node_turn(message, models, note) if isinstance(message, dict) else None
        if turn is not None:
            said.append(turn)
    return said


def _parent(node: Mapping[str, Any], nodes: Mapping[str, Any]) -> str | None:
    parent = node.get("parent")
    return parent if isinstance(parent, str) and parent in nodes else None


def _newest(leaves: Sequence[str], nodes: Mapping[str, Any]) -> str | None:
    """Return the leaf whose message is newest, the last one in the file's order on a tie."""

    def written(key: str) -> float:
        message = nodes[key].get("message")
        at = moment(message.get("create_time")) if isinstance(message, dict) else None
        return at.timestamp() if at else 0.0

    return max(reversed(leaves), key=written, default=None)


def _path(end: str | None, parents: Mapping[str, str]) -> dict[str, None]:
    """Return the nodes from `end` up to its root, in that order."""
    path: dict[str, None] = {}
    while end is not None and end not in path:
        path[end] = None
        end = parents.get(end)
    return path


def _node_turn(message: Mapping[str, Any], models: list[str], note: Note) -> Message | None:
    """Return what a node says, None where it says nothing that a chat holds."""
    author, content = message.get("author"), message.get("content")
    role = author.get("role") if isinstance(author, dict) else None
    if role not in _ROLES or not isinstance(content, dict):
        note("a turn of an unknown speaker left out")
        return None
    kind = content.get("content_type")
    if kind in _THOUGHTS or kind in _PROFILES:
        note("thoughts left out" if kind in _THOUGHTS else "a person's profile left out")
        return None
    words = _node_words(content, note)
    if not words.strip():
        return None
    if role == "assistant":
        metadata = message.get("metadata")
        _remember(models, metadata.get("model_slug") if isinstance(metadata, dict) else None)
        recipient = message.get("recipient")
        if isinstance(recipient, str) and recipient != _EVERYBODY:
            words = call_text(recipient, words)
    return Message(role=role, content=words)


def _node_words(content: Mapping[str, Any], note: Note) -> str:
    parts = content.get("parts")
    if not isinstance(parts, list):
        text = content.get("text", content.get("result"))
        return text if isinstance(text, str) else ""
    for part in parts:
        if not isinstance(part, str):
            note("an image, audio or file left out of a turn")
    return "".join(part for part in parts if isinstance(part, str))


def _remember(models: list[str], model: object) -> None:
    if isinstance(model, str) and model:
        models.append(model[:_LONGEST_NAME])
