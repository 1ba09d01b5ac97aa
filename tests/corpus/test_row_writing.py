"""Rows written in other tools' shapes: what comes back is what went out, or the row is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realm.core.errors import DataError
from realm.core.records import Example, Message
from realm.corpus import specs
from realm.corpus.rows import parquet_writing
from realm.corpus.rows.parquet_writing import ParquetWriter, TagColumns
from realm.corpus.rows.shapes import SHAPES
from realm.corpus.rows.writing import ROW_SHAPES, ShapeName, json_line, left_behind, write_row

SHAPE_NAMES: tuple[ShapeName, ...] = ("realm", "openai", "sharegpt", "alpaca")
READ_AS = {
    "openai": ("messages", "openai_preference"),
    "sharegpt": ("sharegpt", "sharegpt_preference"),
    "alpaca": ("alpaca", "alpaca_preference"),
}

WORDS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=30).filter(lambda text: bool(text.strip()))
TAGS = st.dictionaries(
    st.sampled_from(["role", "level", "a.b", "", "id", "messages"]) | st.text(max_size=8),
    st.integers(-(2**63), 2**63 - 1) | st.text(max_size=8),
    max_size=4,
)


@st.composite
def chats(draw: st.DrawFn) -> tuple[Message, ...]:
    turns = [Message(role="system", content=draw(st.text(max_size=9)))] if draw(st.booleans()) else []
    for _ in range(draw(st.integers(1, 3))):
        turns.append(Message(role="user", content=draw(WORDS)))
        if draw(st.booleans()):
            turns.append(Message(role="tool", content=draw(st.text(max_size=9))))
        turns.append(
            Message(role="assistant", content=draw(WORDS), weight=draw(st.sampled_from([1.0, 1.0, 1.0, 0.0])))
        )
    return (*turns[:-1], turns[-1].model_copy(update={"weight": 1.0}))


@st.composite
def examples(draw: st.DrawFn) -> Example:
    """Rows that any dataset may hold."""
    facts: dict[str, Any] = {"tags": draw(TAGS), "weight": draw(st.sampled_from([1.0, 0.0, 2.5]))}
    form = draw(st.sampled_from(["chat", "preference", "prompt", "text"]))
    if form == "text":
        return Example(text=draw(WORDS), **facts)
    said = draw(chats())
    if form == "prompt":
        return Example(messages=said[:-1], expected=draw(WORDS), **facts)
    if form == "chat":
        return Example(messages=said, **facts)
    worse = (*said[:-1], said[-1].model_copy(update={"content": said[-1].content + draw(WORDS)}))
    return Example(messages=said, rejected=worse, **facts)


def chat(*turns: tuple[str, str], **facts: Any) -> Example:
    return Example.model_validate(
        {"messages": [{"role": role, "content": said} for role, said in turns], **facts}
    )


def plain_rows(path: Path) -> list[dict[str, Any]]:
    """Read a Parquet file as a stranger would, nulls left out."""

    def without_nulls(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: without_nulls(part) for key, part in value.items() if part is not None}
        return [without_nulls(part) for part in value] if isinstance(value, list) else value

    return [without_nulls(row) for row in pq.read_table(path).to_pylist()]


def spec_of(example: Example) -> str:
    return "prompt_v1" if example.expected is not None else specs.spec_of(example)


@given(examples())
def test_the_shape_realm_holds_every_row_as_an_inbox_reads_it(example: Example) -> None:
    row = json.loads(json_line(write_row("realm", example)))
    assert specs.read_row(specs.detect(row), row) == example


@given(examples(), st.sampled_from(["openai", "sharegpt", "alpaca"]))
def test_other_shapes_hold_the_words_or_refuse(example: Example, shape: ShapeName) -> None:
    try:
        row = json.loads(json_line(write_row(shape, example)))
    except DataError:
        return
    read = SHAPES[READ_AS[shape][bool(example.rejected)]].read(row, pytest.fail)
    assert (tuple(read.messages), tuple(read.rejected)) == (example.messages, example.rejected)
    assert bool(left_behind(shape, example)) == bool(example.tags or example.weight != 1)


@settings(deadline=None)
@given(st.lists(examples(), min_size=1, max_size=6), st.integers(1, 4))
def test_parquet_gives_the_same_rows_back(tmp_path_factory: Any, given_: list[Example], group: int) -> None:
    spec = spec_of(given_[0])
    rows = [each for each in given_ if spec_of(each) == spec]
    path = tmp_path_factory.mktemp("parquet") / "rows.parquet"
    tags = TagColumns()
    for each in rows:
        tags.see(each)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parquet_writing, "GROUP_ROWS", group)
        with ParquetWriter(path, "realm", spec, tags.columns()) as writer:
            for each in rows:
                writer.write(write_row("realm", each), 100)
    assert pq.ParquetFile(path).metadata.num_row_groups == -(-len(rows) // group)
    read = []
    for row in plain_rows(path):
        found = {**row.pop("tags", {}), **json.loads(row.pop("other_tags", "{}"))}
        read.append(specs.read_row(spec, {**row, "tags": found}))
    assert read == rows


def test_tags_of_one_type_are_columns_and_the_others_are_kept() -> None:
    tags = TagColumns()
    for given_ in ({"role": "mayor", "level": 3, "mixed": 1}, {"mixed": "a", "a b": "x", "level": 2**40}):
        tags.see(chat(("user", "q"), ("assistant", "a"), tags=given_))
    assert tags.columns() == {"level": int, "role": str}


def test_what_each_shape_looks_like() -> None:
    said = chat(("system", "s"), ("user", "q"), ("assistant", "a"), ("user", "q2"), ("assistant", "a2"))
    assert write_row("sharegpt", said) == {
        "system": "s",
        "conversations": [
            {"from": "human", "value": "q"},
            {"from": "gpt", "value": "a"},
            {"from": "human", "value": "q2"},
            {"from": "gpt", "value": "a2"},
        ],
    }
    assert write_row("alpaca", said) == {
        "system": "s",
        "history": [["q", "a"]],
        "instruction": "q2",
        "output": "a2",
    }
    better = chat(("user", "q"), ("assistant", "a"))
    pair = better.model_copy(update={"rejected": chat(("user", "q"), ("assistant", "b")).messages})
    ending = {
        "chosen": [{"role": "assistant", "content": "a"}],
        "rejected": [{"role": "assistant", "content": "b"}],
    }
    assert write_row("realm", pair) == {"prompt": [{"role": "user", "content": "q"}], **ending}
    assert write_row("openai", pair)["non_preferred_output"] == ending["rejected"]


@pytest.mark.parametrize("shape", SHAPE_NAMES)
@pytest.mark.parametrize(
    "example",
    [
        chat(("user", "q"), ("assistant", "a"), expected="a"),
        chat(("user", "q"), expected=" "),
        chat(("user", "q"), ("assistant", "a")).model_copy(
            update={
                "messages": (
                    Message(role="user", content="q"),
                    Message(role="assistant", content="a", weight=0.5),
                )
            }
        ),
        Example(
            messages=(Message(role="user", content="q"), Message(role="assistant", content="a")),
            rejected=(Message(role="user", content="other"), Message(role="assistant", content="b")),
        ),
    ],
    ids=["answered and expected", "expects nothing", "half a turn", "no common beginning"],
)
def test_what_no_shape_can_hold_is_refused(shape: ShapeName, example: Example) -> None:
    with pytest.raises(DataError):
        write_row(shape, example)


@pytest.mark.parametrize("shape", ["openai", "sharegpt", "alpaca"])
def test_prompts_under_a_reward_have_a_place_in_one_shape_only(shape: ShapeName) -> None:
    asked = chat(("system", "s"), ("user", "2 + 2?"), expected="4")
    with pytest.raises(DataError, match="no place for an expected answer"):
        write_row(shape, asked)
    turns = [{"role": "system", "content": "s"}, {"role": "user", "content": "2 + 2?"}]
    assert write_row("realm", asked) == {"prompt": turns, "expected": "4"}


@pytest.mark.parametrize("shape", ["openai", "sharegpt", "alpaca"])
def test_texts_have_a_place_in_one_shape_only(shape: ShapeName) -> None:
    with pytest.raises(DataError, match="no place for texts"):
        write_row(shape, Example(text="a story"))
    assert write_row("realm", Example(text="a story")) == {"text": "a story"}
    assert set(ROW_SHAPES) == set(SHAPE_NAMES)
