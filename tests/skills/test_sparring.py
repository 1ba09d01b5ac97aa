"""Rows out of mistakes: their form, their balance, and the side of the split they come from."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realm.core.errors import DataError
from realm.corpus import specs
from realm.models import correction
from realm.skills.skill import SKILLS, Skill
from realm.skills.sparring import NO_ANSWER, VERDICTS, Mistake, draw, rows, shown

SKILL: Skill = SKILLS.build({"kind": "bin", "digit_order": "lsb", "pad_digits": 6, "answer": "result"})


def mistakes(count: int, answer: str = "⓪") -> list[Mistake]:
    problems = draw(SKILL, 4, count, weights={}, draws=3)
    return [Mistake(problem=p, answer=answer) for p in problems if SKILL.grade(p, answer) < 1.0]


def test_a_mistake_gives_three_rows_of_the_spec() -> None:
    wrong = mistakes(40)
    made = list(rows(SKILL, wrong, draws=1))
    assert Counter(row.tags["type"] for row in made) == dict.fromkeys(correction.TYPES, len(wrong))
    problems = {m.problem.key: m.problem for m in wrong}
    for row in made:
        specs.verify("self_correction_v1", row)
        *before, asked, reply = row.messages
        assert tuple(before) == SKILL.system
        proposal = correction.read(asked.content)
        assert proposal is not None
        if row.tags["type"] == "confirm_correct":
            continue
        problem = problems[str(row.tags["key"])]
        assert (proposal.problem, proposal.answer) == (problem.messages[-1].content, "⓪")
        assert reply.content == (problem.expected if row.tags["type"] == "correction" else VERDICTS[False])


def test_no_verdict_is_a_default() -> None:
    made = list(rows(SKILL, mistakes(60), draws=1))
    judged = Counter(row.messages[-1].content for row in made if row.tags["type"] != "correction")
    assert judged["correct"] == judged["incorrect"] > 40
    asked = {
        correction.read(row.messages[-2].content).question  # type: ignore[union-attr]
        for row in made
        if row.tags["type"] != "correction"
    }
    assert len(asked) == 1  # the question gives nothing away


def test_a_confirmed_problem_is_a_fresh_one_of_the_same_primitive() -> None:
    for mistake in mistakes(30):
        made = list(rows(SKILL, [mistake], draws=7))
        [confirmed] = [row for row in made if row.tags["type"] == "confirm_correct"]
        assert confirmed.tags["primitive"] == mistake.problem.primitive
        assert confirmed.tags["key"] != mistake.problem.key
        proposal = correction.read(confirmed.messages[-2].content)
        assert proposal is not None
        assert confirmed.expected == proposal.answer


def test_rows_never_touch_a_held_out_problem() -> None:
    made = [row for draws in range(20) for row in rows(SKILL, mistakes(40), draws=draws)]
    keys = {str(row.tags["key"]) for row in made}
    heldout = {p.key for level in (3, 4) for p in SKILL.heldout(level, 10_000)}
    assert len(keys) > 100
    assert keys.isdisjoint(heldout)
    asked = {correction.read(row.messages[-2].content).problem for row in made}  # type: ignore[union-attr]
    questions = {p.messages[-1].content for level in (3, 4) for p in SKILL.heldout(level, 10_000)}
    assert asked.isdisjoint(questions)


@settings(deadline=None, max_examples=150)
@given(st.text(max_size=300) | st.just("\n\n") | st.just("---\nProposed answer:\nx\n\ny"))
def test_any_answer_can_be_shown(answer: str) -> None:
    problem = draw(SKILL, 4, 1, weights={}, draws=1)[0]
    for row in rows(SKILL, [Mistake(problem=problem, answer=answer)], draws=1):
        specs.verify("self_correction_v1", row)


def test_long_and_empty_answers_are_bounded() -> None:
    assert shown("") == shown(" \n ") == NO_ANSWER
    assert len(shown("x" * 1_000_000)) <= 2000
    assert shown("a\n\n \n\nb") == "a\nb"


def test_the_order_and_the_rows_depend_on_the_seed_alone() -> None:
    wrong = mistakes(20)
    assert list(rows(SKILL, wrong, draws=1)) == list(rows(SKILL, wrong, draws=1))
    assert list(rows(SKILL, wrong, draws=1)) != list(rows(SKILL, wrong, draws=2))


def test_problems_drawn_are_different_ones_by_weight() -> None:
    drawn = draw(SKILL, 5, 50, weights={"bitwise_xor": 1.0}, draws=1)
    assert len({p.key for p in drawn}) == len(drawn) == 50
    assert {p.primitive for p in drawn} == {"bitwise_xor"}
    assert {SKILL.split_of(p.key) for p in drawn} == {"train"}


def test_a_file_of_corrections_is_known_and_held_to_its_form() -> None:
    row = {
        "problem": "2 + 2?",
        "proposed": "5",
        "question": "Is it correct?",
        "reply": "incorrect",
        "type": "identify_incorrect",
    }
    assert specs.detect(row) == "self_correction_v1"
    example = specs.read_row("self_correction_v1", row)
    specs.verify("self_correction_v1", example)
    assert example.tags["type"] == "identify_incorrect"
    for change, reason in (
        ({"type": "guess"}, "says 'guess'"),
        ({"reply": " "}, "reply is empty"),
        ({"proposed": 5}, "proposed is an? .*not a string"),
        ({"tags": {"type": "x"}}, "given twice"),
        ({"typ": "x"}, "unknown key"),
    ):
        with pytest.raises(DataError, match=reason):
            specs.read_row("self_correction_v1", {**row, **change})
