"""Rows as other tools read them, each read back before it is written.

| shape | chats | preferences | texts |
|---|---|---|---|
| `realm` | `messages` | `prompt`, `chosen`, `rejected` as turns | `text` |
| `openai` | `messages` | `input.messages`, `preferred_output`, `non_preferred_output` | – |
| `sharegpt` | `system?`, `conversations` | the same, `chosen`, `rejected` | – |
| `alpaca` | `system?`, `history?`, `instruction`, `output` | `chosen`, `rejected` for the output | – |

A prompt with what is `expected` has a place in `realm` alone: `prompt` as turns, and `expected`.

All but `realm` leave tags and a row's weight behind, and say so.

`realm` is what the inbox takes and what TRL reads; its trainers of rewards hand every column but the
prompt to the reward functions. A row that a shape cannot hold word for word, turn for
turn and with the weights of its turns is refused, never bent.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from realm.core.records import Example, Message
from realm.corpus import specs
from realm.corpus.files.lines import refusal
from realm.corpus.intake import DEFAULT_LIMITS
from realm.corpus.rows.shapes import SHAPES

ShapeName = Literal["realm", "openai", "sharegpt", "alpaca"]
Written = dict[str, Any]

OTHER_TAGS = "other_tags"
"""Of rows in Parquet: the tags that are no columns, as a JSON object."""

_SPEAKERS = {"user": "human", "assistant": "gpt", "tool": "observation", "system": "system"}
_NOT_HELD = "it does not come back as it is"


class RowShape(NamedTuple):
    """A way to write rows."""

    chat: Callable[[Sequence[Message]], Written]
    preference: Callable[[Sequence[Message], Sequence[Message], Sequence[Message]], Written]
    """Takes what both begin with, the better and the worse ending."""
    prompt: Callable[[Sequence[Message], str], Written]
    """Takes a chat to be answered, and the right answer."""
    shapes: tuple[str, str]
    """What chats and preferences are read back as, by their names in `shapes`; empty for a spec's rows."""


def write_row(shape: ShapeName, example: Example) -> Written:
    """Return a row in a shape. Raises DataError, without file and line, for one that it cannot hold."""
    written = _write(ROW_SHAPES[shape], example)
    if shape == "realm":
        written |= {"weight": _number(example.weight)} if example.weight != 1 else {}
        written |= {"tags": dict(example.tags)} if example.tags else {}
        if specs.read_row(specs.detect(written), written) != example:
            raise refusal(_NOT_HELD, "a turn's weight must be 0 or 1, and only the assistant's may have one")
    else:
        _prove(ROW_SHAPES[shape], written, example)
    return written


def columns_of(shape: ShapeName, spec: str, file_format: str) -> tuple[str, ...]:
    """Return the keys that rows of a dataset may have in a shape, in their order."""
    form = {"completion_v1": "text", "preference_v1": "preference", "prompt_v1": "prompt"}.get(spec, "chat")
    facts = ("weight", "tags") if shape == "realm" else ()
    others = (OTHER_TAGS,) if facts and file_format == "parquet" else ()
    return (*_COLUMNS.get((shape, form), ()), *facts, *others)


def json_line(written: Written) -> bytes:
    """Return a row as one line of JSON. Raises DataError for one that no inbox takes."""
    line = json.dumps(written, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    if len(line) > DEFAULT_LIMITS.line_bytes:
        raise refusal(f"a line of {len(line):,} bytes; {DEFAULT_LIMITS.line_bytes:,} are the most")
    return line + b"\n"


def left_behind(shape: ShapeName, example: Example) -> tuple[str, ...]:
    """Return what of a row a shape has no place for."""
    if shape == "realm":
        return ()
    return (*(("tags",) if example.tags else ()), *(("the row's weight",) if example.weight != 1 else ()))


def parted(example: Example) -> tuple[Sequence[Message], Sequence[Message], Sequence[Message]]:
    """Return what the chats of a preference begin with, and both endings. Raises DataError for none."""
    better, worse = example.messages, example.rejected
    common, most = 0, min(len(better), len(worse)) - 1
    while common < most and better[common] == worse[common]:
        common += 1
    if not common:
        raise refusal("the two chats have no beginning in common")
    return better[:common], better[common:], worse[common:]


def _write(shape: RowShape, example: Example) -> Written:
    if example.expected is not None:
        return shape.prompt(_asked(example), example.expected)
    if example.text is not None:
        if shape.shapes != ("", ""):
            raise refusal("this shape has no place for texts", "write texts with `--shape realm`")
        return {"text": example.text}
    return shape.preference(*parted(example)) if example.rejected else shape.chat(example.messages)


def _asked(example: Example) -> Sequence[Message]:
    """Return the chat to be answered. Raises DataError for one that has its answer already."""
    if example.rejected or not example.messages or example.messages[-1].role not in ("user", "tool"):
        raise refusal(
            "it has both an answer and an expected one, which has no place in any shape",
            "train on the dataset here, or take the file that it was made from; `realm skill spar` makes its "
            "rows anew",
        )
    return example.messages


def _prove(shape: RowShape, written: Written, example: Example) -> None:
    lost: list[str] = []
    read = SHAPES[shape.shapes[bool(example.rejected)]].read(written, lost.append)
    same = tuple(read.messages) == example.messages and tuple(read.rejected) == example.rejected
    if lost or not same:
        raise refusal(_NOT_HELD, "write it with `--shape realm`")


def _turns(messages: Sequence[Message]) -> list[Written]:
    return [
        {"role": turn.role, "content": turn.content}
        | ({"weight": _number(turn.weight)} if turn.weight != 1 else {})
        for turn in messages
    ]


def _number(weight: float) -> float | int:
    return int(weight) if weight.is_integer() else weight


def _endings(begun: Sequence[Message], better: Sequence[Message], worse: Sequence[Message]) -> Written:
    return {"prompt": _turns(begun), "chosen": _turns(better), "rejected": _turns(worse)}


def _prompt(asked: Sequence[Message], expected: str) -> Written:
    return {"prompt": _turns(asked), "expected": expected}


def _no_prompt(asked: Sequence[Message], expected: str) -> Written:
    raise refusal("this shape has no place for an expected answer", "write prompts with `--shape realm`")


def _openai(messages: Sequence[Message]) -> Written:
    if any(turn.weight not in (0, 1) for turn in messages):
        raise refusal("a turn's weight is neither 0 nor 1")
    return {"messages": _turns(messages)}


def _openai_preference(
    begun: Sequence[Message], better: Sequence[Message], worse: Sequence[Message]
) -> Written:
    outputs = {"preferred_output": better, "non_preferred_output": worse}
    return {"input": _openai(begun), **{key: _openai(turns)["messages"] for key, turns in outputs.items()}}


def _with_system(messages: Sequence[Message]) -> tuple[Written, Sequence[Message]]:
    if messages and messages[0].role == "system":
        return {"system": messages[0].content}, messages[1:]
    return {}, messages


def _sharegpt(messages: Sequence[Message]) -> Written:
    head, said = _with_system(messages)
    return {**head, "conversations": [_speech(turn) for turn in said]}


def _speech(turn: Message) -> Written:
    if turn.weight != 1:
        raise refusal("this shape has no place for a turn that is not trained")
    return {"from": _SPEAKERS[turn.role], "value": turn.content}


def _sharegpt_preference(
    begun: Sequence[Message], better: Sequence[Message], worse: Sequence[Message]
) -> Written:
    return {**_sharegpt(begun), "chosen": _speech(_one(better)), "rejected": _speech(_one(worse))}


def _one(turns: Sequence[Message]) -> Message:
    if len(turns) != 1 or turns[0].role != "assistant":
        raise refusal("the endings are more than one answer")
    return turns[0]


def _alpaca(messages: Sequence[Message]) -> Written:
    asked = _instruction(messages[:-1])
    return {**asked, "output": _plain(messages[-1], "assistant")}


def _alpaca_preference(
    begun: Sequence[Message], better: Sequence[Message], worse: Sequence[Message]
) -> Written:
    answers = (_plain(_one(turns), "assistant") for turns in (better, worse))
    return {**_instruction(begun), **dict(zip(("chosen", "rejected"), answers, strict=True))}


def _instruction(messages: Sequence[Message]) -> Written:
    head, said = _with_system(messages)
    if len(said) % 2 == 0:
        raise refusal("questions and answers do not take turns")
    pairs = [[_plain(said[i], "user"), _plain(said[i + 1], "assistant")] for i in range(0, len(said) - 1, 2)]
    return {**head, **({"history": pairs} if pairs else {}), "instruction": _plain(said[-1], "user")}


def _plain(turn: Message, role: str) -> str:
    if turn.role != role:
        raise refusal("questions and answers do not take turns")
    if turn.weight != 1:
        raise refusal("this shape has no place for a turn that is not trained")
    return turn.content


ROW_SHAPES: Mapping[ShapeName, RowShape] = {
    "realm": RowShape(lambda messages: {"messages": _turns(messages)}, _endings, _prompt, ("", "")),
    "openai": RowShape(_openai, _openai_preference, _no_prompt, ("messages", "openai_preference")),
    "sharegpt": RowShape(_sharegpt, _sharegpt_preference, _no_prompt, ("sharegpt", "sharegpt_preference")),
    "alpaca": RowShape(_alpaca, _alpaca_preference, _no_prompt, ("alpaca", "alpaca_preference")),
}

_COLUMNS: Mapping[tuple[str, str], tuple[str, ...]] = {
    ("realm", "chat"): ("messages",),
    ("realm", "preference"): ("prompt", "chosen", "rejected"),
    ("realm", "prompt"): ("prompt", "expected"),
    ("realm", "text"): ("text",),
    ("openai", "chat"): ("messages",),
    ("openai", "preference"): ("input", "preferred_output", "non_preferred_output"),
    ("sharegpt", "chat"): ("system", "conversations"),
    ("sharegpt", "preference"): ("system", "conversations", "chosen", "rejected"),
    ("alpaca", "chat"): ("system", "history", "instruction", "output"),
    ("alpaca", "preference"): ("system", "history", "instruction", "chosen", "rejected"),
}
