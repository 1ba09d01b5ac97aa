"""The quality score, damage and fences: what they count, and what they leave alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_rows import example, prose

from realm.core.records import Example
from realm.corpus.examining.quality import WEIGHTS, assess
from realm.corpus.texts.encoding import UNHURT, damage
from realm.corpus.texts.fences import Block, blocks

CODE = "```lua\nfunction f(a)\n    local b = {a, 1}\n    return b[1]\nend\n```"


@pytest.mark.parametrize(
    "said",
    [
        prose(1)[0] + ".",
        CODE,
        "①⓪⓪",
        "yes",
        "Sorry for the delay, the report is attached.",
        "这是一个回答。",
        '{"title": "a", "needs": []}',
        "\n".join(f"{n}. {line}" for n, line in enumerate(prose(12, least=4, most=8))),
    ],
)
def test_ordinary_answers_are_worth_everything(said: str) -> None:
    assert assess(example("A question?", said)).score > 0.95


@pytest.mark.parametrize(
    ("said", "part"),
    [
        ("TODO", "substance"),
        ("!!! ---", "substance"),
        ("I'm sorry, but as an AI language model I cannot do that.", "substance"),
        ("the same line again\n" * 60, "variety"),
        ("```c\nint f(int a) {\n    return g((a, {", "whole"),
        ("a\ufffdb\x00" * 30 + "words to pass the time with", "clean"),
        ("What is a fence for, and who needs one?", "distinct"),
    ],
)
def test_each_part_is_lost_for_its_reason(said: str, part: str) -> None:
    found = assess(example("What is a fence for, and who needs one?", said))
    assert getattr(found, part) <= 0.5
    assert all(getattr(found, other) > 0.5 for other in WEIGHTS if other != part)
    assert found.score < 0.95


@given(st.text(st.characters(codec=None), max_size=200), st.text(st.characters(codec=None), max_size=200))
def test_every_text_has_a_score(asked: str, said: str) -> None:
    for made in (example(asked, said), Example(text=said)):
        assert 0 <= assess(made).score <= 1


def test_a_huge_answer_is_judged_by_its_ends() -> None:
    text = "\n".join(prose(30_000, least=10, most=20))
    assert assess(Example(text=text)).score > 0.9


def test_damage_counts_by_kind() -> None:
    assert damage("plain\ttext\r\n") == UNHURT
    assert damage("Grüße, 字, é, “quoted”, ①") == UNHURT
    found = damage("\ud800\x01\ufdd0\ufffd\u200b\u202eÃ©â€™")
    assert (found.surrogates, found.controls, found.noncharacters, found.replaced) == (1, 1, 1, 1)
    assert (found.hidden, found.misread) == (2, 2)


def test_fences_open_and_close_as_in_markdown() -> None:
    text = "a\n```C\nint x;\n```\n~~~~ py extra\n```\nx\n~~~\n~~~~\n  ```\nlast"
    assert list(blocks(text)) == [
        Block("c", "int x;", closed=True),
        Block("py", "```\nx\n~~~", closed=True),
        Block("", "last", closed=False),
    ]
    assert list(blocks("no `fence` here")) == []
    assert len(list(blocks("```\n```\n" * 20_000))) == 10_000


@given(st.lists(st.sampled_from(["```", "~~~", "```c", "  ````", "x", "", "```` "]), max_size=30))
def test_any_lines_give_blocks(lines: list[str]) -> None:
    for block in blocks("\n".join(lines)):
        assert set(block.code.splitlines()) <= set(lines)
