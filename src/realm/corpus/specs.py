"""Dataset specs: the shapes of rows that are taken, and the one that training reads.

| spec | row | becomes |
|---|---|---|
| `chat_sft_v1` | `messages` | the chat; every assistant turn is trained |
| `prompt_completion_v1` | `prompt`, `completion`: both strings or both message lists | one chat |
| `completion_v1` | `text` | the text; every token of it is trained |

Every row may carry `id` (string or integer), `metadata` and `tags` (flat objects of strings and
integers); all three become tags of the example. Any other key is refused, because what Realm does
not understand it would have to ignore: a `weight` of 0 ignored trains what must not be trained.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from realm.core.errors import DataError
from realm.core.records import Example
from realm.corpus.lines import DOCS, kind_of, quoted, refusal

ROLES = ("system", "user", "assistant", "tool")
_MESSAGE_KEYS = {"role", "content"}
_TAG_KEYS = {"id", "metadata", "tags"}
_INT64 = 1 << 63

_UNTAKEN = {
    "name": ("speakers' names are not trained", "leave it out, or write the name into the content"),
    "weight": (
        "weights are not supported: every assistant turn is trained",
        "leave out a weight of 1; cut the chat so that no assistant turn of weight 0 is in it",
    ),
    "tool_calls": ("tool calls are not supported yet", "write the call into the content"),
    "function_call": ("tool calls are not supported yet", "write the call into the content"),
    "tools": ("tool lists are not supported yet", "write them into the system turn"),
}
"""Known keys of other tools' rows whose meaning would be lost."""

_OTHER_SHAPES = (
    ({"conversations"}, "a ShareGPT row", "write it as messages with role and content"),
    ({"instruction", "output"}, "an Alpaca row", "write it as prompt and completion"),
    ({"preferred_output", "non_preferred_output"}, "an OpenAI preference row", ""),
    ({"chosen", "rejected"}, "a preference row", ""),
)


class Spec(NamedTuple):
    """One shape of rows."""

    keys: frozenset[str]
    """The keys that such a row must have."""
    read: Callable[[Mapping[str, Any]], Example]
    """Turn a row with these keys into an example. Raises DataError without file and line."""


def detect(row: Mapping[str, Any]) -> str:
    """Return the name of the spec a row fits. Raises DataError where none or several fit."""
    found = [name for name, spec in SPECS.items() if spec.keys <= row.keys()]
    if len(found) == 1:
        return found[0]
    if found:
        raise refusal(f"the row fits several specs: {', '.join(found)}", f"one spec a row; see {DOCS}")
    for keys, what, hint in _OTHER_SHAPES:
        if keys <= row.keys():
            raise refusal(f"{what}: not taken yet", hint)
    keys_shown = ", ".join(quoted(key) for key in list(row)[:8]) or "none"
    raise refusal(
        f"no known spec has these keys: {keys_shown}{_nearest(row.keys() - _known(), _known())}",
        _KNOWN_SHAPES,
    )


def read_row(spec: str, row: Mapping[str, Any]) -> Example:
    """Turn a row of a spec into an example. Raises DataError without file and line."""
    shape = SPECS[spec]
    if not shape.keys <= row.keys():
        other = detect(row)
        raise refusal(f"a {other} row in a file of {spec} rows", "one spec a file; split the file")
    unknown = row.keys() - shape.keys - _TAG_KEYS
    if unknown:
        raise _unknown_key(min(unknown), shape.keys | _TAG_KEYS, "row")
    return shape.read(row)


def verify(spec: str, example: Example) -> None:
    """Hold a generated example to the rules of its spec. Raises DataError without file and line."""
    if bool(example.messages) == (spec == "completion_v1"):
        raise refusal(f"not a row of {spec}")
    if example.text is not None:
        _refuse_blank(example.text, "the text")
    else:
        _refuse_order([(message.role, message.content) for message in example.messages])


def _read_chat(row: Mapping[str, Any]) -> Example:
    return _chat(_messages(row["messages"], "messages"), row)


def _read_prompt(row: Mapping[str, Any]) -> Example:
    prompt, completion = row["prompt"], row["completion"]
    if isinstance(prompt, str) and isinstance(completion, str):
        _refuse_blank(prompt, "the prompt", "a text without a prompt is a completion_v1 row: {text}")
        _refuse_blank(completion, "the completion")
        return _chat([("user", prompt), ("assistant", completion)], row)
    if not (isinstance(prompt, list) and isinstance(completion, list)):
        kinds = f"{kind_of(prompt)} and {kind_of(completion)}"
        raise refusal(f"prompt and completion are {kinds}", "both must be strings, or both message lists")
    asked, answered = _messages(prompt, "prompt"), _messages(completion, "completion")
    if any(role == "assistant" for role, _ in asked):
        raise refusal(
            "the prompt has an assistant turn, which would be trained too",
            "where that is meant, write the whole chat as messages (chat_sft_v1)",
        )
    if not asked or any(role not in ("assistant", "tool") for role, _ in answered):
        raise refusal("a prompt must have turns, and a completion only assistant and tool turns")
    return _chat([*asked, *answered], row)


def _read_text(row: Mapping[str, Any]) -> Example:
    text = row["text"]
    if not isinstance(text, str):
        raise refusal(f"text is {kind_of(text)}, not a string")
    _refuse_blank(text, "the text")
    return Example(text=text, tags=_tags(row))


SPECS: dict[str, Spec] = {
    "chat_sft_v1": Spec(frozenset({"messages"}), _read_chat),
    "prompt_completion_v1": Spec(frozenset({"prompt", "completion"}), _read_prompt),
    "completion_v1": Spec(frozenset({"text"}), _read_text),
}
_KNOWN_SHAPES = "known: " + "; ".join(
    f"{name} {{{', '.join(sorted(spec.keys, reverse=True))}}}" for name, spec in SPECS.items()
)


def _messages(value: Any, where: str) -> list[tuple[str, str]]:
    if not isinstance(value, list):
        raise refusal(f"{where} is {kind_of(value)}, not a list of messages")
    return [_message(item, f"{where}[{index}]") for index, item in enumerate(value)]


def _message(item: Any, where: str) -> tuple[str, str]:
    if not isinstance(item, dict):
        raise refusal(f"{where} is {kind_of(item)}, not an object with role and content")
    if item.keys() != _MESSAGE_KEYS:
        _refuse_message_keys(item, where)
    role, content = item["role"], item["content"]
    if role not in ROLES:
        shown = quoted(role) if isinstance(role, str) else kind_of(role)
        raise refusal(f"{where}.role is {shown}", f"one of: {', '.join(ROLES)}")
    if not isinstance(content, str):
        raise refusal(
            f"{where}.content is {kind_of(content)}, not a string",
            "join text blocks into one string" if isinstance(content, list) else "",
        )
    return role, content


def _refuse_message_keys(item: Mapping[str, Any], where: str) -> None:
    unknown = item.keys() - _MESSAGE_KEYS
    if unknown:
        raise _unknown_key(min(unknown), _MESSAGE_KEYS, where)
    missing = min(_MESSAGE_KEYS - item.keys())
    raise refusal(f"{where} has no {missing}")


def _chat(turns: list[tuple[str, str]], row: Mapping[str, Any]) -> Example:
    _refuse_order(turns)
    messages = [{"role": role, "content": content} for role, content in turns]
    return Example.model_validate({"messages": messages, "tags": _tags(row)})


def _refuse_order(turns: list[tuple[str, str]]) -> None:
    for index, (role, content) in enumerate(turns):
        if role == "system" and index:
            raise refusal(f"turn {index + 1} is a system turn", "a system turn may only be the first")
        if role in ("assistant", "user"):
            _refuse_blank(content, f"turn {index + 1} ({role})")
    if not any(role == "assistant" for role, _ in turns):
        raise refusal("no assistant turn, so nothing would be trained")
    if turns[-1][0] != "assistant":
        raise refusal(
            f"the last turn is the {turns[-1][0]}'s",
            "end the chat with the assistant; later turns train nothing",
        )


def _refuse_blank(content: str, what: str, hint: str = "") -> None:
    if not content or content.isspace():
        raise refusal(f"{what} is empty", hint)


def _tags(row: Mapping[str, Any]) -> dict[str, str | int]:
    if len(row) == len(row.keys() - _TAG_KEYS):
        return {}
    tags: dict[str, str | int] = {}
    for key in ("tags", "metadata"):
        group = row.get(key, {})
        if not isinstance(group, dict):
            raise refusal(f"{key} is {kind_of(group)}, not an object")
        for name, value in group.items():
            _add_tag(tags, name, value, f"{key}.{quoted(name)}")
    if "id" in row:
        _add_tag(tags, "id", row["id"], "id")
    return tags


def _add_tag(tags: dict[str, str | int], name: str, value: Any, where: str) -> None:
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise refusal(f"{where} is {kind_of(value)}", "only strings and whole numbers are kept as tags")
    if isinstance(value, int) and not -_INT64 <= value < _INT64:
        raise refusal(f"{where} does not fit 64 bits", "write it as a string")
    if name in tags:
        raise refusal(f"{where} is given twice", "id, metadata and tags share one set of names")
    tags[name] = value


def _unknown_key(key: str, known: Iterable[str], where: str) -> DataError:
    if key in _UNTAKEN:
        reason, hint = _UNTAKEN[key]
        return refusal(f"{where} has {quoted(key)}: {reason}", hint)
    return refusal(
        f"{where} has the unknown key {quoted(key)}{_nearest([key], known)}",
        f"known here: {', '.join(sorted(known))}; facts about a row belong in metadata",
    )


def _nearest(keys: Iterable[str], known: Iterable[str]) -> str:
    names = sorted(known)
    near = [match for key in sorted(keys)[:8] for match in difflib.get_close_matches(key[:60], names, n=1)]
    return f" (did you mean {near[0]}?)" if near else ""


def _known() -> set[str]:
    return {key for spec in SPECS.values() for key in spec.keys}
