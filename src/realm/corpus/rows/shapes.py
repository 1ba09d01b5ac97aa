"""Shapes of rows that other tools write, and what each becomes.

| shape | row | becomes |
|---|---|---|
| `openai_preference` | `input{messages, tools?}`, `preferred_output`, `non_preferred_output` | preference |
| `sharegpt_preference` | `conversations`, `chosen`, `rejected`, `system?`, `tools?` | preference |
| `sharegpt_unpaired` | `conversations`, `kto_tag`, `system?`, `tools?` | chat with a label |
| `sharegpt` | `conversations` of `{from, value}` or `{role, content}`, `system?`, `tools?` | chat |
| `alpaca_preference` | `instruction`, `chosen`, `rejected`, `input?`, `system?`, `history?` | preference |
| `alpaca_unpaired` | `instruction`, `output`, `kto_tag`, as above | chat with a label |
| `domain` | `domain`, `instruction`, `output`, `system?` | chat, tagged with the domain |
| `alpaca` | `instruction`, `output`, `input?`, `system?`, `history?` | chat |
| `lesson` | `original_prompt`, `suboptimal_response`, `gold_standard` | preference |
| `preference` | `prompt`, `chosen`, `rejected`: strings or turns | preference |
| `preference_whole` | `chosen`, `rejected`: whole chats that begin alike | preference |
| `unpaired` | `prompt`, `completion`, `label`: strings or turns | chat with a label |
| `prompt_completion` | `prompt`, `completion`: strings or turns | chat |
| `messages_unpaired` | `messages`, `label` | chat with a label |
| `messages` | `messages`, `tools?`, `functions?`: OpenAI's and TRL's chats | chat |
| `prompt` | `prompt`, `expected?`: a string or turns | chat that ends with the user |
| `text` | `text` | text |

The order is the rule where several fit: a row is of the first shape whose keys it has, so that a
preference which also carries its better half as `messages` stays a preference. A key whose value is
null counts as absent.

Every row may have `id`, `tags` and flat `metadata` (all become tags), `weight` (goes into the document's
fields), and `group`, `session_id` or `conversation_id`, which keep rows on one side of a split. Other
numbers and short strings go into the fields under their own names; anything else is left out and noted.

A label (KTO) goes into the fields as `label`. The answers of a chat that is labelled as bad have weight 0:
read by something that knows no labels, they must not be learnt as good.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import zip_longest
from typing import Any, NamedTuple

from realm.core.records import Message
from realm.corpus.document import Form
from realm.corpus.files.lines import refusal
from realm.corpus.rows.speech import Note, said, turns, with_system

Row = Mapping[str, Any]

_SAME = "chosen and rejected are the same, so nothing is preferred"


class Words(NamedTuple):
    """What a row says, without where it came from."""

    form: Form
    messages: Sequence[Message] = ()
    rejected: Sequence[Message] = ()
    text: str | None = None
    fields: Mapping[str, Any] = {}
    tags: Mapping[str, str | int] = {}


class Shape(NamedTuple):
    """One way to write rows."""

    keys: frozenset[str]
    """Which a row must have."""
    optional: frozenset[str]
    """Which it may have and whose meaning is kept."""
    read: Callable[[Row, Note], Words]
    """Raises DataError with a fixed reason, without file and line."""
    fits: Callable[[Row], bool] = lambda row: True
    """Asked of a row that has the keys."""


def _openai_preference(row: Row, note: Note) -> Words:
    given = row["input"]
    if not isinstance(given, dict):
        raise refusal("the input is no object")
    prompt = with_system(turns(given.get("messages"), note), None, given.get("tools"))
    return _preference(prompt, turns(row["preferred_output"], note), turns(row["non_preferred_output"], note))


def _sharegpt(row: Row, note: Note) -> Words:
    return Words("chat", _conversation(row, note))


def _sharegpt_unpaired(row: Row, note: Note) -> Words:
    return _labelled(_conversation(row, note), row["kto_tag"])


def _sharegpt_preference(row: Row, note: Note) -> Words:
    prompt = _conversation(row, note)
    return _preference(prompt, _ending(row["chosen"], note), _ending(row["rejected"], note))


def _conversation(row: Row, note: Note) -> list[Message]:
    return with_system(turns(row["conversations"], note), row.get("system"), row.get("tools"))


def _alpaca(row: Row, note: Note) -> Words:
    return Words("chat", [*_instruction(row), said("assistant", row["output"])])


def _alpaca_unpaired(row: Row, note: Note) -> Words:
    return _labelled([*_instruction(row), said("assistant", row["output"])], row["kto_tag"])


def _alpaca_preference(row: Row, note: Note) -> Words:
    return _preference(_instruction(row), _ending(row["chosen"], note), _ending(row["rejected"], note))


def _domain(row: Row, note: Note) -> Words:
    if not isinstance(row["domain"], str):
        raise refusal("the domain is no string")
    words = _alpaca(row, note)
    return words._replace(tags={"domain": row["domain"]})


def _instruction(row: Row) -> list[Message]:
    """Return everything before the answer. The input follows the instruction on a line of its own."""
    asked, more = said("user", row["instruction"]), row.get("input")
    if more is not None and more != "":
        asked = said("user", f"{asked.content}\n{said('user', more).content}")
    history = row.get("history") or []
    if not isinstance(history, list):
        raise refusal("the history is no list")
    before: list[Message] = []
    for pair in history:
        if not isinstance(pair, list) or len(pair) != 2:
            raise refusal("the history is no list of pairs")
        before += [said("user", pair[0]), said("assistant", pair[1])]
    return with_system([*before, asked], row.get("system"), None)


def _lesson(row: Row, note: Note) -> Words:
    prompt = [said("user", row["original_prompt"])]
    better, worse = (said("assistant", row[key]) for key in ("gold_standard", "suboptimal_response"))
    facts = ("utility_score", "karma_delta", "context_tags", "timestamp")
    fields = {key: row[key] for key in facts if key in row}
    return _preference(prompt, [better], [worse])._replace(fields=fields)


def _trl_preference(row: Row, note: Note) -> Words:
    chosen, rejected = (_ending(row[key], note) for key in ("chosen", "rejected"))
    prompt = row["prompt"]
    if isinstance(prompt, str):
        if all(ending[:1] and ending[0].role == "assistant" for ending in (chosen, rejected)):
            return _preference([said("user", prompt)], chosen, rejected)
        # The column repeats what both chats begin with.
        return _whole(chosen, rejected)
    asked = turns(prompt, note)
    if asked and chosen[: len(asked)] == asked == rejected[: len(asked)]:
        return _whole(chosen, rejected)
    return _preference(with_system(asked, None, row.get("tools")), chosen, rejected)


def _preference_whole(row: Row, note: Note) -> Words:
    if isinstance(row["chosen"], str) or isinstance(row["rejected"], str):
        raise refusal("chosen and rejected are texts without a prompt")
    return _whole(turns(row["chosen"], note), turns(row["rejected"], note))


def _whole(chosen: Sequence[Message], rejected: Sequence[Message]) -> Words:
    shared = next(
        (i for i, (a, b) in enumerate(zip_longest(chosen, rejected)) if a != b),
        len(chosen),
    )
    if not shared:
        raise refusal("chosen and rejected share no beginning")
    return _preference(chosen[:shared], chosen[shared:], rejected[shared:])


def _ending(value: Any, note: Note) -> list[Message]:
    """Return what follows a prompt: a string is the assistant's."""
    return [said("assistant", value)] if isinstance(value, str) else turns(value, note)


def _preference(prompt: Sequence[Message], chosen: Sequence[Message], rejected: Sequence[Message]) -> Words:
    if list(chosen) == list(rejected):
        raise refusal(_SAME)
    if not prompt:
        raise refusal("the prompt has no turns")
    if not chosen or not rejected:
        raise refusal("chosen or rejected has no turns")
    return Words("preference", [*prompt, *chosen], [*prompt, *rejected])


def _unpaired(row: Row, note: Note) -> Words:
    return _labelled(_completed(row, note), row["label"])


def _prompt_completion(row: Row, note: Note) -> Words:
    return Words("chat", _completed(row, note))


def _completed(row: Row, note: Note) -> list[Message]:
    completion = _ending(row["completion"], note)
    if not completion:
        raise refusal("the completion has no turns")
    # TRL trains completions only, so an answer within the prompt must not be learnt.
    return [*_silent(_prompt(row, note)), *completion]


def _prompt(row: Row, note: Note) -> list[Message]:
    value = row["prompt"]
    asked = [said("user", value)] if isinstance(value, str) else turns(value, note)
    if not asked:
        raise refusal("the prompt has no turns")
    return with_system(asked, None, row.get("tools"))


def _prompt_alone(row: Row, note: Note) -> Words:
    expected = {"expected": row["expected"]} if "expected" in row else {}
    return Words("chat", _prompt(row, note), fields=expected)


def _messages(row: Row, note: Note) -> Words:
    return Words("chat", _chat(row, note))


def _messages_unpaired(row: Row, note: Note) -> Words:
    return _labelled(_chat(row, note), row["label"])


def _chat(row: Row, note: Note) -> list[Message]:
    tools = row.get("tools")
    if not tools and isinstance(row.get("functions"), list):
        tools = [{"type": "function", "function": function} for function in row["functions"]]
    return with_system(turns(row["messages"], note), None, tools)


def _text(row: Row, note: Note) -> Words:
    if not isinstance(row["text"], str):
        raise refusal("the text is no string")
    if not row["text"].strip():
        raise refusal("the text is empty")
    return Words("text", text=row["text"])


def _labelled(messages: Sequence[Message], value: Any) -> Words:
    label = _truth(value)
    if label is None:
        raise refusal("the label is neither true nor false")
    return Words("chat", messages if label else _silent(messages), fields={"label": label})


def _truth(value: Any) -> bool | None:
    """Return a label's truth; a CSV holds it as text, some exports as 0 and 1."""
    if isinstance(value, str):
        return {"true": True, "false": False, "1": True, "0": False}.get(value.strip().lower())
    return bool(value) if isinstance(value, bool | int) and value in (0, 1) else None


def _has_label(row: Row) -> bool:
    return _truth(row["label"]) is not None


def _silent(messages: Sequence[Message]) -> list[Message]:
    """Return turns of which no answer is learnt."""
    return [
        turn.model_copy(update={"weight": 0.0}) if turn.role == "assistant" else turn for turn in messages
    ]


def _keys(text: str) -> frozenset[str]:
    return frozenset(text.split())


_ALPACA = _keys("input system history")
_TALK = _keys("system tools")

SHAPES: dict[str, Shape] = {
    "openai_preference": Shape(
        _keys("input preferred_output non_preferred_output"), frozenset(), _openai_preference
    ),
    "sharegpt_preference": Shape(_keys("conversations chosen rejected"), _TALK, _sharegpt_preference),
    "sharegpt_unpaired": Shape(_keys("conversations kto_tag"), _TALK, _sharegpt_unpaired),
    "sharegpt": Shape(_keys("conversations"), _TALK, _sharegpt),
    "alpaca_preference": Shape(_keys("instruction chosen rejected"), _ALPACA, _alpaca_preference),
    "alpaca_unpaired": Shape(_keys("instruction output kto_tag"), _ALPACA, _alpaca_unpaired),
    "domain": Shape(_keys("domain instruction output"), _ALPACA, _domain),
    "alpaca": Shape(_keys("instruction output"), _ALPACA, _alpaca),
    "lesson": Shape(
        _keys("original_prompt suboptimal_response gold_standard"),
        _keys("utility_score karma_delta timestamp context_tags"),
        _lesson,
    ),
    "preference": Shape(_keys("prompt chosen rejected"), _keys("tools"), _trl_preference),
    "preference_whole": Shape(_keys("chosen rejected"), frozenset(), _preference_whole),
    "unpaired": Shape(_keys("prompt completion label"), _keys("tools"), _unpaired, _has_label),
    "prompt_completion": Shape(_keys("prompt completion"), _keys("tools"), _prompt_completion),
    "messages_unpaired": Shape(
        _keys("messages label"), _keys("tools functions"), _messages_unpaired, _has_label
    ),
    "messages": Shape(
        _keys("messages"), _keys("tools functions parallel_tool_calls"), _messages, lambda row: _is_chat(row)
    ),
    "prompt": Shape(_keys("prompt"), _keys("tools expected"), _prompt_alone),
    "text": Shape(_keys("text"), frozenset(), _text),
}
"""By name, the first that fits wins."""


def _is_chat(row: Row) -> bool:
    """Tell a row of a chat from a conversation's export, which the source `conversations` reads."""
    return not row.keys() >= {"create_time", "update_time"}
