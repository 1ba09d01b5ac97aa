"""Dataset specs: the shapes of rows that are taken, and the one that training reads.

| spec | row | becomes |
|---|---|---|
| `chat_sft_v1` | `messages` | the chat; every assistant turn is trained |
| `prompt_completion_v1` | `prompt`, `completion`: both strings or both message lists | one chat |
| `preference_v1` | `prompt`, `chosen`, `rejected`: strings or message lists | two chats |
| `prompt_v1` | `prompt`: a string or a message list, `expected`: a string | a chat to be answered |
| `completion_v1` | `text` | the text; every token of it is trained |
| `self_correction_v1` | `problem`, `proposed`, `question`, `reply`, `type` | one chat: `models.correction` |

Every row may carry `id` (string or integer), `metadata` and `tags` (flat objects of strings and
integers); all three become tags of the example. A row's `weight` (0 or more) says how much it counts
against others, an assistant turn's `weight` (0 or 1) whether it is trained. Any other key is refused,
because what Realm does not understand it would have to ignore.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from realm.core.errors import DataError
from realm.core.records import Example
from realm.core.text import printable
from realm.corpus.files.lines import DOCS, kind_of, quoted, refusal
from realm.models import correction

ROLES = ("system", "user", "assistant", "tool")
_MESSAGE_KEYS = {"role", "content"}
_WEIGHT = "weight"
_TAG_KEYS = {"id", "metadata", "tags"}
_ROW_KEYS = {*_TAG_KEYS, _WEIGHT}
_HEAVIEST = 1000
_INT64 = 1 << 63

_WRITTEN = "write the call into the content, as `realm data add` does"
_UNTAKEN = {
    "name": ("speakers' names are not trained", "leave it out, or write the name into the content"),
    "tool_calls": ("tool calls are not supported yet", _WRITTEN),
    "function_call": ("tool calls are not supported yet", _WRITTEN),
    "tools": ("tool lists are not supported yet", "write them into the system turn"),
}
"""Known keys of other tools' rows whose meaning would be lost."""

_OTHER_SHAPES = (
    ({"conversations"}, "a ShareGPT row", "write it as messages with role and content"),
    ({"instruction", "output"}, "an Alpaca row", "write it as prompt and completion"),
    ({"preferred_output", "non_preferred_output"}, "an OpenAI preference row", ""),
    ({"chosen", "rejected"}, "a preference row without a prompt", "write what both begin with as prompt"),
)


class Turn(NamedTuple):
    """One message as it was read."""

    role: str
    content: str
    weight: int = 1


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
    unknown = row.keys() - shape.keys - _ROW_KEYS
    if unknown:
        raise _unknown_key(min(unknown), shape.keys | _ROW_KEYS, "row")
    return shape.read(row)


def spec_of(example: Example) -> str:
    """Return the spec of rows that have this form."""
    if example.text is not None:
        return "completion_v1"
    return "preference_v1" if example.rejected else "chat_sft_v1"


def verify(spec: str, example: Example) -> None:
    """Hold a generated example to the rules of its spec. Raises DataError without file and line."""
    if bool(example.messages) == (spec == "completion_v1"):
        raise refusal(f"not a row of {spec}")
    if bool(example.rejected) != (spec == "preference_v1"):
        raise refusal(f"not a row of {spec}")
    if example.text is not None:
        _refuse_blank(example.text, "the text")
    if spec == "prompt_v1":
        _refuse_unasked([Turn(turn.role, turn.content) for turn in example.messages], example.expected)
        return
    for chat in (example.messages, example.rejected):
        if chat:
            _refuse_order([Turn(message.role, message.content, int(message.weight > 0)) for message in chat])
    if spec == "self_correction_v1":
        _refuse_other_correction(example)


def _read_chat(row: Mapping[str, Any]) -> Example:
    return _chat(_messages(row["messages"], "messages"), row)


def _read_prompt(row: Mapping[str, Any]) -> Example:
    prompt, completion = row["prompt"], row["completion"]
    if isinstance(prompt, str) and isinstance(completion, str):
        _refuse_blank(prompt, "the prompt", "a text without a prompt is a completion_v1 row: {text}")
        _refuse_blank(completion, "the completion")
        return _chat([Turn("user", prompt), Turn("assistant", completion)], row)
    if not (isinstance(prompt, list) and isinstance(completion, list)):
        kinds = f"{kind_of(prompt)} and {kind_of(completion)}"
        raise refusal(f"prompt and completion are {kinds}", "both must be strings, or both message lists")
    asked, answered = _messages(prompt, "prompt"), _messages(completion, "completion")
    if any(turn.role == "assistant" for turn in asked):
        raise refusal(
            "the prompt has an assistant turn, which would be trained too",
            "where that is meant, write the whole chat as messages (chat_sft_v1)",
        )
    if not asked or any(turn.role not in ("assistant", "tool") for turn in answered):
        raise refusal("a prompt must have turns, and a completion only assistant and tool turns")
    return _chat([*asked, *answered], row)


def _read_question(row: Mapping[str, Any]) -> Example:
    prompt, expected = row["prompt"], row["expected"]
    if not isinstance(expected, str):
        raise refusal(f"expected is {kind_of(expected)}, not a string")
    if not isinstance(prompt, str | list):
        raise refusal(f"the prompt is {kind_of(prompt)}", "it must be a string, or a message list")
    asked = [Turn("user", prompt)] if isinstance(prompt, str) else _messages(prompt, "prompt")
    _refuse_unasked(asked, expected)
    return _example(asked, row).model_copy(update={"expected": expected})


def _refuse_unasked(turns: Sequence[Turn], expected: str | None) -> None:
    """Raise DataError unless a chat ends with a question whose right answer is told."""
    _refuse_turns(turns)
    if not turns or turns[-1].role not in ("user", "tool"):
        raise refusal("a prompt ends with a user's or a tool's turn", "the right answer is `expected`")
    _refuse_blank(expected or "", "the expected answer")


def _read_preference(row: Mapping[str, Any]) -> Example:
    values = {key: row[key] for key in ("prompt", "chosen", "rejected")}
    if all(isinstance(value, str) for value in values.values()):
        for key, value in values.items():
            _refuse_blank(value, f"the {key} text")
        asked = [Turn("user", values["prompt"])]
        endings = [[Turn("assistant", values[key])] for key in ("chosen", "rejected")]
    elif all(isinstance(value, list) for value in values.values()):
        asked, *endings = (_messages(value, key) for key, value in values.items())
    else:
        kinds = ", ".join(kind_of(value) for value in values.values())
        raise refusal(f"prompt, chosen and rejected are {kinds}", "all must be strings, or all message lists")
    if not asked:
        raise refusal("the prompt has no turns")
    better, worse = endings
    if better == worse:
        raise refusal("chosen and rejected are the same, so nothing is preferred")
    return _chat([*asked, *better], row, rejected=[*asked, *worse])


def _read_text(row: Mapping[str, Any]) -> Example:
    text = row["text"]
    if not isinstance(text, str):
        raise refusal(f"text is {kind_of(text)}, not a string")
    _refuse_blank(text, "the text")
    return Example(text=text, weight=_row_weight(row), tags=_tags(row))


def _read_correction(row: Mapping[str, Any]) -> Example:
    texts = {key: row[key] for key in ("problem", "proposed", "question", "reply", "type")}
    for key, value in texts.items():
        if not isinstance(value, str):
            raise refusal(f"{key} is {kind_of(value)}, not a string")
        _refuse_blank(value, f"the {key}")
    asked = correction.write(correction.Proposal(row["problem"], row["proposed"], row["question"]))
    example = _chat([Turn("user", asked), Turn("assistant", row["reply"])], row)
    if correction.TAG in example.tags:
        raise refusal(f"the type is given twice, as a tag `{correction.TAG}` too")
    example = example.model_copy(update={"tags": {**example.tags, correction.TAG: row["type"]}})
    _refuse_other_correction(example)
    return example


def _refuse_other_correction(example: Example) -> None:
    """Raise DataError unless the chat ends as a row of self-correction does."""
    if [message.role for message in example.messages[-2:]] != ["user", "assistant"]:
        raise refusal("a correction ends with a user's and an assistant's turn")
    asked, reply = example.messages[-2:]
    kind = example.tags.get(correction.TAG)
    wrong = correction.fault(kind, asked.content, reply.content, example.expected)
    if wrong:
        raise refusal(wrong)


SPECS: dict[str, Spec] = {
    "chat_sft_v1": Spec(frozenset({"messages"}), _read_chat),
    "prompt_completion_v1": Spec(frozenset({"prompt", "completion"}), _read_prompt),
    "preference_v1": Spec(frozenset({"prompt", "chosen", "rejected"}), _read_preference),
    "prompt_v1": Spec(frozenset({"prompt", "expected"}), _read_question),
    "completion_v1": Spec(frozenset({"text"}), _read_text),
    "self_correction_v1": Spec(
        frozenset({"problem", "proposed", "question", "reply", "type"}), _read_correction
    ),
}
_KNOWN_SHAPES = "known: " + "; ".join(
    f"{name} {{{', '.join(sorted(spec.keys, reverse=True))}}}" for name, spec in SPECS.items()
)


def _messages(value: Any, where: str) -> list[Turn]:
    if not isinstance(value, list):
        raise refusal(f"{where} is {kind_of(value)}, not a list of messages")
    return [_message(item, f"{where}[{index}]") for index, item in enumerate(value)]


def _message(item: Any, where: str) -> Turn:
    if not isinstance(item, dict):
        raise refusal(f"{where} is {kind_of(item)}, not an object with role and content")
    if item.keys() - {_WEIGHT} != _MESSAGE_KEYS:
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
    return Turn(role, content, _turn_weight(item, role, where))


def _turn_weight(item: Mapping[str, Any], role: str, where: str) -> int:
    weight = item.get(_WEIGHT, 1)
    if isinstance(weight, bool) or weight not in (0, 1):
        raise refusal(f"{where}.weight is {_shown_weight(weight)}", "a turn's weight is 0 or 1")
    if role != "assistant" and _WEIGHT in item:
        raise refusal(f"{where} has a weight, but is the {role}'s", "only assistant turns have one")
    return int(weight)


def _row_weight(row: Mapping[str, Any]) -> float:
    weight = row.get(_WEIGHT, 1)
    if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 <= weight <= _HEAVIEST:
        raise refusal(f"the row's weight is {_shown_weight(weight)}", f"a number from 0 to {_HEAVIEST}")
    return float(weight)


def _shown_weight(weight: Any) -> str:
    plain = isinstance(weight, int | float) and not isinstance(weight, bool)
    return printable(str(weight), 40) if plain else kind_of(weight)


def _refuse_message_keys(item: Mapping[str, Any], where: str) -> None:
    unknown = item.keys() - _MESSAGE_KEYS - {_WEIGHT}
    if unknown:
        raise _unknown_key(min(unknown), _MESSAGE_KEYS, where)
    missing = min(_MESSAGE_KEYS - item.keys())
    raise refusal(f"{where} has no {missing}")


def _chat(turns: list[Turn], row: Mapping[str, Any], *, rejected: Sequence[Turn] = ()) -> Example:
    _refuse_order(turns)
    if rejected:
        _refuse_order(rejected)
    return _example(turns, row, rejected=rejected)


def _example(turns: Sequence[Turn], row: Mapping[str, Any], *, rejected: Sequence[Turn] = ()) -> Example:
    return Example.model_validate(
        {
            "messages": [turn._asdict() for turn in turns],
            "rejected": [turn._asdict() for turn in rejected],
            "weight": _row_weight(row),
            "tags": _tags(row),
        }
    )


def _refuse_turns(turns: Sequence[Turn]) -> None:
    for index, turn in enumerate(turns):
        if turn.role == "system" and index:
            raise refusal(f"turn {index + 1} is a system turn", "a system turn may only be the first")
        if turn.role in ("assistant", "user"):
            _refuse_blank(turn.content, f"turn {index + 1} ({turn.role})")


def _refuse_order(turns: Sequence[Turn]) -> None:
    _refuse_turns(turns)
    if not any(turn.role == "assistant" for turn in turns):
        raise refusal("no assistant turn, so nothing would be trained")
    if turns[-1].role != "assistant":
        raise refusal(
            f"the last turn is the {turns[-1].role}'s",
            "end the chat with the assistant; later turns train nothing",
        )
    if not any(turn.role == "assistant" and turn.weight for turn in turns):
        raise refusal("every assistant turn has weight 0, so nothing would be trained")


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
