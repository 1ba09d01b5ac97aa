"""One row of every shape, as `trl` and `datasets` files hold it, gives exactly one known content."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realm.core.errors import DataError
from realm.core.records import Message
from realm.corpus.rows.detection import Sorter, without_nulls
from realm.corpus.rows.shapes import SHAPES, Shape, Words

Q, A, B = (
    {"role": "user", "content": "q"},
    {"role": "assistant", "content": "a"},
    {"role": "assistant", "content": "b"},
)
S = {"role": "system", "content": "s"}
TOOL = {"type": "function", "function": {"name": "f"}}
TOOLS = '<tools>\n{"type": "function", "function": {"name": "f"}}\n</tools>'


def _says(*turns: str) -> list[Message]:
    roles = {"s": "system", "u": "user", "a": "assistant", "t": "tool", "x": "assistant"}
    return [
        Message(role=roles[turn[0]], content=turn[2:], weight=0.0 if turn[0] == "x" else 1.0)  # type: ignore[arg-type]
        for turn in turns
    ]


CASES: list[tuple[str, dict[str, Any], Words]] = [
    ("openai_preference",
     {"input": {"messages": [Q], "tools": [TOOL], "parallel_tool_calls": True},
      "preferred_output": [A], "non_preferred_output": [B]},
     Words("preference", _says("s:" + TOOLS, "u:q", "a:a"), _says("s:" + TOOLS, "u:q", "a:b"))),
    ("sharegpt_preference",
     {"conversations": [{"from": "human", "value": "q"}], "chosen": {"from": "gpt", "value": "a"},
      "rejected": {"from": "gpt", "value": "b"}, "system": "s"},
     Words("preference", _says("s:s", "u:q", "a:a"), _says("s:s", "u:q", "a:b"))),
    ("sharegpt_unpaired",
     {"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}], "kto_tag": False},
     Words("chat", _says("u:q", "x:a"), fields={"label": False})),
    ("sharegpt",
     {"conversations": [{"from": "system", "value": "own"}, {"from": "human", "value": "q"},
                        {"from": "function_call", "value": '{"name": "f", "arguments": {"x": 1}}'},
                        {"from": "observation", "value": "2"}, {"from": "gpt", "value": "a"}],
      "system": "column", "tools": '[{"type": "function", "function": {"name": "f"}}]'},
     Words("chat", _says("s:own\n\n" + TOOLS, "u:q",
                         'a:<tool_call>\n{"name": "f", "arguments": {"x": 1}}\n</tool_call>', "t:2", "a:a"))),
    ("alpaca_preference", {"instruction": "q", "input": "", "chosen": "a", "rejected": "b"},
     Words("preference", _says("u:q", "a:a"), _says("u:q", "a:b"))),
    ("alpaca_unpaired", {"instruction": "q", "input": "i", "output": "a", "kto_tag": True},
     Words("chat", _says("u:q\ni", "a:a"), fields={"label": True})),
    ("domain", {"domain": "flecs", "system": "s", "instruction": "q", "output": "a"},
     Words("chat", _says("s:s", "u:q", "a:a"), tags={"domain": "flecs"})),
    ("alpaca",
     {"instruction": "q", "input": "i", "output": "a", "system": "s",
      "history": [["q0", "a0"], ["q1", "a1"]]},
     Words("chat", _says("s:s", "u:q0", "a:a0", "u:q1", "a:a1", "u:q\ni", "a:a"))),
    ("lesson",
     {"original_prompt": "q", "suboptimal_response": "b", "gold_standard": "a", "utility_score": 0.7,
      "karma_delta": -2, "timestamp": "2026-01-02T03:04:05Z", "context_tags": ["git"]},
     Words("preference", _says("u:q", "a:a"), _says("u:q", "a:b"),
           fields={"utility_score": 0.7, "karma_delta": -2, "context_tags": ["git"],
                   "timestamp": "2026-01-02T03:04:05Z"})),
    ("preference", {"prompt": "q", "chosen": "a", "rejected": "b"},
     Words("preference", _says("u:q", "a:a"), _says("u:q", "a:b"))),
    ("preference", {"prompt": [S, Q], "chosen": [A], "rejected": [B]},
     Words("preference", _says("s:s", "u:q", "a:a"), _says("s:s", "u:q", "a:b"))),
    ("preference", {"prompt": "q", "chosen": [Q, A], "rejected": [Q, B]},
     Words("preference", _says("u:q", "a:a"), _says("u:q", "a:b"))),
    ("preference", {"prompt": "q", "chosen": [A], "rejected": [B]},
     Words("preference", _says("u:q", "a:a"), _says("u:q", "a:b"))),
    ("preference", {"prompt": [Q], "chosen": [Q, A], "rejected": [Q, B]},
     Words("preference", _says("u:q", "a:a"), _says("u:q", "a:b"))),
    ("preference_whole", {"chosen": [S, Q, A], "rejected": [S, Q, B]},
     Words("preference", _says("s:s", "u:q", "a:a"), _says("s:s", "u:q", "a:b"))),
    ("unpaired", {"prompt": "q", "completion": "a", "label": True},
     Words("chat", _says("u:q", "a:a"), fields={"label": True})),
    ("unpaired", {"prompt": [Q], "completion": [A], "label": "false"},
     Words("chat", _says("u:q", "x:a"), fields={"label": False})),
    ("prompt_completion", {"prompt": "q", "completion": "a", "label": "spam"},
     Words("chat", _says("u:q", "a:a"))),
    ("prompt_completion", {"prompt": [Q, B, Q], "completion": [A]},
     Words("chat", _says("u:q", "x:b", "u:q", "a:a"))),
    ("messages_unpaired", {"messages": [Q, A], "label": False},
     Words("chat", _says("u:q", "x:a"), fields={"label": False})),
    ("messages", {"messages": [S, Q, {**A, "weight": 0}, Q, B], "tools": None},
     Words("chat", _says("s:s", "u:q", "x:a", "u:q", "a:b"))),
    ("messages", {"messages": [Q, A], "functions": [{"name": "f"}]},
     Words("chat", _says("s:" + TOOLS, "u:q", "a:a"))),
    ("prompt", {"prompt": "q", "expected": "4"}, Words("chat", _says("u:q"), fields={"expected": "4"})),
    ("prompt", {"prompt": [S, Q]}, Words("chat", _says("s:s", "u:q"))),
    ("text", {"text": "once", "url": "x"}, Words("text", text="once")),
]  # fmt: skip


@pytest.mark.parametrize(("name", "row", "expected"), CASES)
def test_a_row_of_every_shape(name: str, row: dict[str, Any], expected: Words) -> None:
    row = without_nulls(row)
    assert Sorter().shape_of(row) == name
    notes: list[str] = []
    found = SHAPES[name].read(row, notes.append)
    assert found._replace(messages=list(found.messages), rejected=list(found.rejected)) == (
        expected._replace(messages=list(expected.messages), rejected=list(expected.rejected))
    )
    assert notes == []


def test_every_shape_has_a_case() -> None:
    assert {name for name, _, _ in CASES} == set(SHAPES)


@pytest.mark.parametrize(
    ("keys", "name"),
    [
        ("prompt prompt_id chosen rejected messages score_chosen", "preference"),
        ("text messages", "messages"),
        ("instruction input output text", "alpaca"),
        ("prompt text", "prompt"),
        ("conversations messages", "sharegpt"),
        ("title create_time update_time messages", ""),
        ("question answer", ""),
    ],
)
def test_where_several_fit_the_first_of_the_table_wins(keys: str, name: str) -> None:
    assert Sorter().shape_of(dict.fromkeys(keys.split(), "x")) == name


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"prompt": "q", "chosen": "a", "rejected": "a"}, "nothing is preferred"),
        ({"prompt": [], "chosen": [A], "rejected": [B]}, "the prompt has no turns"),
        ({"prompt": "q", "chosen": [], "rejected": [B]}, "share no beginning"),
        ({"prompt": [Q], "chosen": [], "rejected": [B]}, "chosen or rejected has no turns"),
        ({"prompt": 3, "completion": "a"}, "the turns are no list"),
        ({"prompt": "q", "completion": []}, "the completion has no turns"),
        ({"chosen": "a", "rejected": "b"}, "texts without a prompt"),
        ({"chosen": [Q, A], "rejected": [S, B]}, "share no beginning"),
        ({"input": "q", "preferred_output": [A], "non_preferred_output": [B]}, "the input is no object"),
        ({"instruction": None, "output": "a"}, "no string"),
        ({"instruction": "q", "output": 4}, "no string"),
        ({"instruction": "q", "output": "a", "history": [["q"]]}, "pairs"),
        ({"instruction": "q", "output": "a", "kto_tag": "maybe"}, "neither true nor false"),
        ({"domain": 3, "instruction": "q", "output": "a"}, "the domain is no string"),
        ({"text": " "}, "the text is empty"),
        ({"text": ["x"]}, "the text is no string"),
    ],
)
def test_an_unfit_row_is_refused_with_a_fixed_reason(row: dict[str, Any], reason: str) -> None:
    name = next(name for name, shape in SHAPES.items() if shape.keys <= row.keys())
    with pytest.raises(DataError, match=reason):
        SHAPES[name].read(row, lambda note: None)


def test_trl_reads_the_same_chats_out_of_its_own_forms() -> None:
    from trl import maybe_convert_to_chatml, maybe_extract_prompt

    def ours(row: dict[str, Any]) -> Words:
        return SHAPES[Sorter().shape_of(row)].read(row, lambda note: None)

    whole = {"chosen": [Q, A], "rejected": [Q, B]}
    theirs = maybe_extract_prompt(dict(whole))
    assert [turn.model_dump(exclude={"weight"}) for turn in ours(whole).messages] == (
        theirs["prompt"] + theirs["chosen"]
    )
    assert ours(whole) == ours(theirs)
    talk = {"conversations": [{"from": "user", "value": "q"}, {"from": "assistant", "value": "a"}]}
    ours_first = ours(talk)
    assert ours(maybe_convert_to_chatml(talk)) == ours_first


_KEYS = sorted({key for shape in SHAPES.values() for key in shape.keys | shape.optional} | {"id", "x"})
_TURN_KEYS = st.sampled_from(
    [
        "role",
        "content",
        "from",
        "value",
        "tool_calls",
        "weight",
        "name",
        "tool_call_id",
        "function_call",
        "audio",
    ]
)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 2000) | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(["user", "assistant", "tool", "gpt", "function_call", "", "[{", '{"name":"f"}']),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(_TURN_KEYS | st.sampled_from(_KEYS), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(row=st.dictionaries(st.sampled_from(_KEYS), _JSON, max_size=8))
def test_any_row_gives_words_or_a_refusal(row: dict[str, Any]) -> None:
    row = without_nulls(row)
    for shape in SHAPES.values():
        if shape.keys <= row.keys() and shape.fits(row):
            for turn in _turns_or_refusal(shape, row):
                assert isinstance(turn, Message)


def _turns_or_refusal(shape: Shape, row: dict[str, Any]) -> list[Message]:
    try:
        found = shape.read(row, lambda note: None)
    except DataError:
        return []
    return [*found.messages, *found.rejected]
