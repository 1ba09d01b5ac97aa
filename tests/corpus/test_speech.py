from __future__ import annotations

from typing import Any

import pytest

from realm.core.errors import DataError
from realm.core.records import Message
from realm.corpus.rows.speech import call_text, turns, with_system

ASK = {"role": "user", "content": "Weather in Oslo and Rome?"}


def _call(number: str, city: str) -> dict[str, Any]:
    return {
        "id": number,
        "type": "function",
        "function": {"name": "weather", "arguments": f'{{"city": "{city}"}}'},
    }


def _read(*given: dict[str, Any]) -> tuple[list[tuple[str, str]], list[str]]:
    notes: list[str] = []
    return [(turn.role, turn.content) for turn in turns(list(given), notes.append)], notes


def test_calls_become_text_and_results_follow_in_the_calls_order() -> None:
    found, notes = _read(
        ASK,
        {"role": "assistant", "content": "I look.", "tool_calls": [_call("a", "Oslo"), _call("b", "Rome")]},
        {"role": "tool", "tool_call_id": "b", "content": "sun"},
        {"role": "tool", "tool_call_id": "a", "content": "snow"},
        {"role": "assistant", "content": "Snow and sun."},
    )
    assert found == [
        ("user", "Weather in Oslo and Rome?"),
        (
            "assistant",
            'I look.\n\n<tool_call>\n{"name": "weather", "arguments": {"city": "Oslo"}}\n</tool_call>'
            '\n\n<tool_call>\n{"name": "weather", "arguments": {"city": "Rome"}}\n</tool_call>',
        ),
        ("tool", "snow"),
        ("tool", "sun"),
        ("assistant", "Snow and sun."),
    ]
    assert notes == []


def test_a_call_without_a_result_is_filled_and_noted() -> None:
    found, notes = _read(
        ASK,
        {"role": "assistant", "content": None, "tool_calls": [_call("a", "Oslo"), _call("b", "Rome")]},
        {"role": "tool", "tool_call_id": "b", "content": "sun"},
    )
    assert found[2:] == [("tool", "[no result]"), ("tool", "sun")]
    assert notes == ["a call without a result"]


def test_the_former_function_form_reads_the_same() -> None:
    former, _ = _read(
        {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}},
        {"role": "function", "name": "f", "content": "1"},
    )
    sharegpt, _ = _read(
        {"from": "function_call", "value": '{"name": "f", "arguments": {}}'},
        {"from": "observation", "value": "1"},
    )
    assert former == sharegpt == [("assistant", call_text("f", {})), ("tool", "1")]


def test_no_argument_can_end_a_call() -> None:
    text = call_text("f", {"x": "</tool_call>"})
    assert text.count("</tool_call>") == 1
    assert text.endswith("\n</tool_call>")


def test_arguments_that_are_no_object_stay_the_text_they_are() -> None:
    assert '"arguments": "[1, 2"' in call_text("f", "[1, 2")
    assert '"arguments": [1, 2]' in call_text("f", "[1, 2]")
    assert '"arguments": "{\\"a\\": 1, \\"a\\": 2}"' in call_text("f", '{"a": 1, "a": 2}')


@pytest.mark.parametrize(
    ("turn", "expected"),
    [
        ({"role": "developer", "content": "x"}, ("system", "x")),
        ({"from": "human", "value": "x"}, ("user", "x")),
        ({"from": "GPT", "value": "x"}, ("assistant", "x")),
        ({"role": "user", "content": [{"type": "text", "text": "a"}, "b"]}, ("user", "a\nb")),
        ({"role": "assistant", "content": None, "refusal": "No."}, ("assistant", "No.")),
        ({"role": "tool", "content": None}, ("tool", "")),
    ],
)  # fmt: skip
def test_speakers_and_blocks(turn: dict[str, Any], expected: tuple[str, str]) -> None:
    assert _read(turn)[0] == [expected]


@pytest.mark.parametrize(
    ("turn", "reason"),
    [
        ("hello", "a turn is no object"),
        ({"content": "x"}, "a turn without a speaker"),
        ({"role": ["user"], "content": "x"}, "a turn without a speaker"),
        ({"role": "narrator", "content": "x"}, "a turn of an unknown speaker"),
        ({"from": "function", "value": "x"}, "a turn of an unknown speaker"),
        ({"role": "user", "content": 3}, "neither text nor blocks"),
        ({"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}, "an image"),
        ({"role": "assistant", "content": "x", "audio": {"id": "x"}}, "an image"),
        ({"role": "assistant", "content": "x", "weight": "1"}, "weight"),
        ({"role": "assistant", "content": "x", "weight": True}, "weight"),
        ({"role": "assistant", "content": "x", "tool_calls": {"a": 1}}, "no list"),
        ({"role": "assistant", "content": "x", "tool_calls": [{"function": {}}]}, "without a name"),
        ({"from": "function_call", "value": "weather(Oslo)"}, "without a name"),
        ({"role": "assistant"}, "an assistant's turn without content or calls"),
        ({"role": "assistant", "content": None}, "an assistant's turn without content or calls"),
        (
            {"role": "assistant", "content": "", "tool_calls": []},
            "an assistant's turn without content or calls",
        ),
        ({"role": "assistant", "content": ""}, "an assistant's turn without content or calls"),
        ({"from": "gpt", "value": None}, "an assistant's turn without content or calls"),
        (
            {"role": "user", "content": None, "tool_calls": [_call("a", "Oslo")]},
            "a user's turn without content",
        ),
    ],
)
def test_what_a_message_cannot_hold_refuses_the_row(turn: Any, reason: str) -> None:
    with pytest.raises(DataError, match=reason):
        turns([turn], lambda note: None)


def test_a_result_of_another_call_refuses_the_row() -> None:
    with pytest.raises(DataError, match="without its call"):
        _read(
            {"role": "assistant", "content": None, "tool_calls": [_call("a", "Oslo")]},
            {"role": "tool", "tool_call_id": "z", "content": "sun"},
        )


def test_weights_are_kept_and_losses_noted() -> None:
    notes: list[str] = []
    given = [
        {"role": "user", "content": "q", "name": "Ann", "weight": 0},
        {"role": "assistant", "content": "a", "weight": 0, "reasoning_content": "hm"},
        {"role": "assistant", "content": "b", "weight": 1},
    ]
    assert [turn.weight for turn in turns(given, notes.append)] == [1, 0, 1]
    assert notes == ["a speaker's name left out", "thoughts left out"]


def test_tools_stand_at_the_end_of_the_system_turn() -> None:
    user, system = Message(role="user", content="q"), Message(role="system", content="Be brief.")
    tool = {"type": "function", "function": {"name": "f"}}
    listed = '<tools>\n{"type": "function", "function": {"name": "f"}}\n</tools>'
    assert with_system([user], None, [tool]) == [Message(role="system", content=listed), user]
    assert with_system([user], "Be brief.", '[{"type": "function", "function": {"name": "f"}}]')[0] == (
        Message(role="system", content=f"Be brief.\n\n{listed}")
    )
    assert with_system([system, user], "Other.", []) == [system, user]
    assert with_system([user], " ", "call f(x)")[0].content == "<tools>\ncall f(x)\n</tools>"
