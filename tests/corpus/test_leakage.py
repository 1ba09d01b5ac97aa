"""Leakage: what counts as an evaluation problem in a row, and what does not."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_rows import example, preference, prose

from realm.core.records import Example, Message
from realm.corpus.examining.leakage import Leak, LeakFinder, eval_hashes
from realm.corpus.texts.wording import normalised

LONG = (
    "A merchant buys seven barrels of oil for nine coins each and sells four of them for fifteen coins each"
)
SHORT = "What grows when you feed it but dies when you give it water"
TINY = "Compute: add(①①, ①)"


def leak(row: Example, *problems: str) -> Leak | None:
    return LeakFinder(eval_hashes(problems)).find(row)


@pytest.mark.parametrize(
    "said",
    [
        LONG.upper(),
        f"**{LONG}**.",
        LONG.replace(" ", "\n\t "),
        f"“{LONG}”",
        LONG.replace("coins each", "`coins` each"),
        LONG.replace("fi", "\ufb01"),
    ],
)
def test_layout_case_and_marks_hide_nothing(said: str) -> None:
    assert leak(example(said, "an answer"), LONG) == Leak(whole=True, words=0)


def test_thirteen_words_in_a_row_are_enough_and_twelve_are_not() -> None:
    said = normalised(LONG)
    assert leak(example("q", f"x y {' '.join(said[3:16])} z"), LONG) == Leak(whole=False, words=13)
    assert leak(example("q", f"x y {' '.join(said[3:15])} z"), LONG) is None
    assert leak(example("q", " ".join([*said[:12], "otherwise", *said[12:]])), LONG) is None


def test_a_problem_of_eight_to_twelve_words_leaks_as_a_whole_run() -> None:
    assert leak(example(f"A riddle. {SHORT}? Think.", "fire"), SHORT) == Leak(
        whole=False, words=len(normalised(SHORT))
    )
    assert leak(example(" ".join(normalised(SHORT)[:-1]), "fire"), SHORT) is None


def test_no_run_goes_from_one_turn_into_the_next() -> None:
    said = LONG.split(" ")
    assert leak(example(" ".join(said[:8]), " ".join(said[8:])), LONG) is None
    assert leak(example("q", " ".join(said[:14])), LONG) is not None


def test_a_ruler_is_no_problem() -> None:
    table = "| name | age |\n" + "| --- " * 20 + "|\n| a | 1 |"
    assert leak(example("q", "| --- " * 30), f"Who is the oldest? {table}") is None


def test_a_short_problem_leaks_as_a_turn_only() -> None:
    assert leak(example("compute add 11 1", "100"), TINY) == Leak(whole=True, words=0)
    assert leak(example(f"Please {TINY}", "100"), TINY) is None
    assert leak(example("Compute: sub(①①, ①)", "10"), TINY) is None
    assert leak(example("what is 3 - 4", "-1"), "What is 3 + 4?") is None
    assert leak(example("Hello there", "hi"), "Hello there") is None


def test_all_turns_but_the_system_one_are_looked_at() -> None:
    turns = example("q", "a").messages
    system = Message(role="system", content=LONG)
    assert leak(Example(messages=(system, *turns)), LONG) is None
    assert leak(Example(text=f"So: {LONG}"), LONG) is not None
    assert leak(preference("q", "fine", LONG), LONG) is not None


def test_the_wording_of_a_test_is_no_problem() -> None:
    task = "Answer the following riddle with one word only and write it in capital letters please"
    riddles = prose(4, least=14, most=14, purpose="riddles")
    row = example(f"{task}: something else altogether", "SEA")
    assert leak(row, *(f"{task}: {each}" for each in riddles)) is None
    assert leak(row, *(f"{task}: {each}" for each in riddles[:3])) is not None
    again = example(f"Now: {riddles[3]}", "SEA")
    assert leak(again, *(f"{task}: {each}" for each in riddles)) is not None


def test_the_same_problem_twice_counts_once() -> None:
    assert eval_hashes([LONG, LONG.upper(), f"{LONG}."] * 5) == eval_hashes([LONG])


def test_ordinary_text_does_not_leak() -> None:
    finder = LeakFinder(eval_hashes(prose(200, purpose="problems")))
    assert [text for text in prose(500, purpose="training") if finder.find(Example(text=text))] == []


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=300), st.text(max_size=300))
def test_a_problem_always_leaks_into_itself(one: str, other: str) -> None:
    said = normalised(one)
    found = leak(example(one, other), one)
    if len(said) >= 3:
        assert found == Leak(whole=True, words=0)
    elif one not in other:
        assert found is None
