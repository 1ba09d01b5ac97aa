from __future__ import annotations

from typing import Any

import pytest

from realm.core.errors import DataError
from realm.core.records import Example, Message
from realm.corpus import specs

USER = {"role": "user", "content": "2 + 2?"}
ANSWER = {"role": "assistant", "content": "4"}
SYSTEM = {"role": "system", "content": "Be brief."}


def _read(row: dict[str, Any]) -> Example:
    return specs.read_row(specs.detect(row), row)


@pytest.mark.parametrize(
    ("row", "spec"),
    [
        ({"messages": [USER, ANSWER]}, "chat_sft_v1"),
        ({"messages": [ANSWER], "id": 7}, "chat_sft_v1"),
        ({"prompt": "a", "completion": "b"}, "prompt_completion_v1"),
        ({"prompt": [USER], "completion": [ANSWER]}, "prompt_completion_v1"),
        ({"prompt": "a", "chosen": "b", "rejected": "c"}, "preference_v1"),
        ({"prompt": "a", "expected": "b"}, "prompt_v1"),
        ({"text": "once"}, "completion_v1"),
    ],
)
def test_a_row_is_known_by_its_keys(row: dict[str, Any], spec: str) -> None:
    assert specs.detect(row) == spec


def test_both_prompt_forms_become_the_same_chat() -> None:
    texts = _read({"prompt": "2 + 2?", "completion": "4"})
    lists = _read({"prompt": [USER], "completion": [ANSWER]})
    assert texts == lists == _read({"messages": [USER, ANSWER]})


def test_weights_of_turns_and_rows_are_kept() -> None:
    row = _read({"messages": [USER, {**ANSWER, "weight": 0}, USER, ANSWER], "weight": 2})
    assert [turn.weight for turn in row.messages] == [1, 0, 1, 1]
    assert row.weight == 2
    assert _read({"text": "x", "weight": 0.5}).weight == 0.5


def test_both_preference_forms_become_two_whole_chats() -> None:
    texts = _read({"prompt": "2 + 2?", "chosen": "4", "rejected": "5"})
    lists = _read({"prompt": [USER], "chosen": [ANSWER], "rejected": [{**ANSWER, "content": "5"}]})
    assert texts == lists
    assert [turn.content for turn in texts.messages] == ["2 + 2?", "4"]
    assert [turn.content for turn in texts.rejected] == ["2 + 2?", "5"]


def test_a_prompt_brings_its_right_answer_apart_from_the_chat() -> None:
    told = {"id": 3, "tags": {"level": 1}, "weight": 2}
    texts = _read({"prompt": "2 + 2?", "expected": "4", **told})
    assert texts == _read({"prompt": [USER], "expected": "4", **told})
    assert (texts.messages, texts.expected) == ((Message(**USER),), "4")
    assert (texts.weight, texts.tags) == (2, {"id": 3, "level": 1})
    longer = _read({"prompt": [SYSTEM, USER, ANSWER, USER], "expected": "4"})
    assert [turn.role for turn in longer.messages] == ["system", "user", "assistant", "user"]


def test_facts_about_a_row_become_tags() -> None:
    row = {"text": "x", "id": "r1", "metadata": {"level": 3}, "tags": {"primitive": "add"}}
    assert _read(row).tags == {"id": "r1", "level": 3, "primitive": "add"}


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({}, "no known spec"),
        ({"promt": "a", "completion": "b"}, "did you mean prompt?"),
        ({"prompt": "a", "completon": "b"}, "did you mean completion?"),
        ({"text": "a", "messages": [USER, ANSWER]}, "several specs"),
        ({"conversations": []}, "a ShareGPT row"),
        ({"instruction": "a", "input": "", "output": "b"}, "an Alpaca row"),
        ({"chosen": "b", "rejected": "c"}, "a preference row without a prompt"),
        ({"prompt": "a", "chosen": "b", "rejected": "b"}, "nothing is preferred"),
        ({"prompt": "a", "chosen": "b", "rejected": [ANSWER]}, "a string, a string, a list"),
        ({"prompt": "a", "chosen": "b", "rejected": " "}, "the rejected text is empty"),
        ({"prompt": [], "chosen": [ANSWER], "rejected": [USER]}, "the prompt has no turns"),
        ({"prompt": [USER], "chosen": [ANSWER], "rejected": [USER]}, "no assistant turn"),
        ({"messages": [USER, ANSWER], "metdata": {}}, "did you mean metadata?"),
        ({"messages": [USER, ANSWER], "tools": []}, "tool lists are not supported"),
        ({"messages": "hello"}, "messages is a string"),
        ({"messages": []}, "no assistant turn"),
        ({"messages": [USER]}, "no assistant turn"),
        ({"messages": [USER, ANSWER, USER]}, "the last turn is the user's"),
        ({"messages": [USER, SYSTEM, ANSWER]}, "turn 2 is a system turn"),
        ({"messages": [USER, {"role": "assistant", "content": " \n"}]}, "turn 2 (assistant) is empty"),
        ({"messages": [USER, {"role": "assistant", "content": None}]}, "messages[1].content is null"),
        ({"messages": [USER, {"role": "assistant", "content": ["4"]}]}, "messages[1].content is a list"),
        ({"messages": [USER, {"role": "robot", "content": "4"}]}, "messages[1].role is 'robot'"),
        ({"messages": [USER, {"role": ["assistant"], "content": "4"}]}, "messages[1].role is a list"),
        ({"messages": [USER, {"role": "assistant"}]}, "messages[1] has no content"),
        ({"messages": [USER, "4"]}, "messages[1] is a string"),
        ({"messages": [USER, {**ANSWER, "weight": 0}]}, "every assistant turn has weight 0"),
        ({"messages": [USER, {**ANSWER, "weight": 0.5}]}, "messages[1].weight is 0.5"),
        ({"messages": [USER, {**ANSWER, "weight": True}]}, "messages[1].weight is a boolean"),
        ({"messages": [{**USER, "weight": 1}, ANSWER]}, "messages[0] has a weight, but is the user's"),
        ({"messages": [USER, ANSWER], "weight": -1}, "the row's weight is -1"),
        ({"text": "a", "weight": "2"}, "the row's weight is a string"),
        ({"messages": [{**USER, "name": "Ann"}, ANSWER]}, "speakers' names"),
        ({"messages": [USER, {**ANSWER, "tool_calls": []}]}, "tool calls are not supported"),
        ({"messages": [USER, {**ANSWER, "rôle": "x"}]}, "did you mean role?"),
        ({"prompt": "a", "completion": [ANSWER]}, "a string and a list"),
        ({"prompt": " ", "completion": "b"}, "the prompt is empty"),
        ({"prompt": "a", "completion": ""}, "the completion is empty"),
        ({"prompt": [USER, ANSWER, USER], "completion": [ANSWER]}, "would be trained too"),
        ({"prompt": [USER], "completion": [USER, ANSWER]}, "only assistant and tool turns"),
        ({"prompt": [], "completion": [ANSWER]}, "a prompt must have turns"),
        ({"prompt": "a", "completion": "b", "expected": "c"}, "several specs"),
        ({"prompt": "a", "expected": 4}, "expected is a number"),
        ({"prompt": "a", "expected": " "}, "the expected answer is empty"),
        ({"prompt": 4, "expected": "b"}, "the prompt is a number"),
        ({"prompt": " ", "expected": "b"}, "turn 1 (user) is empty"),
        ({"prompt": [], "expected": "b"}, "a prompt ends with a user's"),
        ({"prompt": [USER, ANSWER], "expected": "b"}, "a prompt ends with a user's"),
        ({"prompt": [USER, SYSTEM, USER], "expected": "b"}, "turn 2 is a system turn"),
        ({"text": 5}, "text is a number"),
        ({"text": ""}, "the text is empty"),
        ({"text": "a", "id": True}, "id is a boolean"),
        ({"text": "a", "id": 1 << 63}, "64 bits"),
        ({"text": "a", "metadata": ["x"]}, "metadata is a list"),
        ({"text": "a", "metadata": {"score": 0.5}}, "metadata.'score' is a number"),
        ({"text": "a", "metadata": {"id": 1}, "id": 1}, "given twice"),
    ],
)
def test_a_row_that_would_lose_meaning_is_refused(row: dict[str, Any], reason: str) -> None:
    with pytest.raises(DataError) as caught:
        _read(row)
    assert reason in caught.value.reason


def test_a_fraction_as_a_tag_is_refused_as_a_fraction() -> None:
    with pytest.raises(DataError) as caught:
        _read({"text": "a", "metadata": {"score": 0.5}})
    assert "whole numbers" in caught.value.hint


def test_generated_examples_obey_the_same_rules() -> None:
    chat = Example(messages=(Message(**USER), Message(**ANSWER)))
    specs.verify("chat_sft_v1", chat)
    specs.verify("completion_v1", Example(text="x"))
    pair = chat.model_copy(update={"rejected": chat.messages})
    specs.verify("preference_v1", pair)
    asked = Example(messages=(Message(**USER),), expected="4")
    specs.verify("prompt_v1", asked)
    for spec, example in [
        ("chat_sft_v1", pair),
        ("preference_v1", chat),
        ("completion_v1", chat),
        ("chat_sft_v1", Example(text="x")),
        ("chat_sft_v1", Example(messages=(Message(**USER),))),
        ("completion_v1", Example(text=" ")),
        ("prompt_v1", chat),
        ("prompt_v1", asked.model_copy(update={"expected": None})),
        ("chat_sft_v1", asked),
    ]:
        with pytest.raises(DataError):
            specs.verify(spec, example)
