from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from bin_reader import core, make

from realm.skills.catalogue.binary_arithmetic import BITS, BinaryArithmetic
from realm.skills.skill import SKILLS, Problem

MEANINGS: dict[str, Callable[..., object]] = {
    r"What is (\w+) \+ (\w+) in binary\?": lambda a, b: bin(a + b)[2:],
    r"What is (\w+) - (\w+) in binary\?": lambda a, b: bin(a - b)[2:],
    r"What is (\w+) AND (\w+), digit by digit\?": lambda a, b: bin(a & b)[2:],
    r"What is (\w+) OR (\w+), digit by digit\?": lambda a, b: bin(a | b)[2:],
    r"What is (\w+) XOR (\w+), digit by digit\?": lambda a, b: bin(a ^ b)[2:],
    r"Is (\w+) equal to (\w+)\?": lambda a, b: "yes" if a == b else "no",
    r"Is (\w+) less than (\w+)\?": lambda a, b: "yes" if a < b else "no",
    r"Is (\w+) greater than (\w+)\?": lambda a, b: "yes" if a > b else "no",
    r"What is the binary number (\w+) in decimal\?": lambda a: str(a),
    r"What is the decimal number (\w+) in binary\?": lambda a: bin(a)[2:],
    r"Which binary number comes right after (\w+)\?": lambda a: bin(a + 1)[2:],
    r"Which binary number comes right before (\w+)\?": lambda a: bin(a - 1)[2:],
}


def build() -> BinaryArithmetic:
    skill = SKILLS.build("binary_arithmetic")
    assert isinstance(skill, BinaryArithmetic)
    return skill


def answer(problem: Problem) -> tuple[str, int]:
    """Work out a question from its words alone; return also how large its numbers are."""
    text = problem.messages[-1].content
    for pattern, meaning in MEANINGS.items():
        if match := re.fullmatch(pattern, text):
            numbers = [int(n, 10 if "decimal number" in text else 2) for n in match.groups()]
            return str(meaning(*numbers)), max(numbers)
    raise AssertionError(text)


def test_every_question_is_answered_rightly() -> None:
    skill = build()
    for level, bits in enumerate(BITS, 1):
        problems = [*skill.drills(level, 300, weights={}, seed=level), *skill.heldout(level, 10)]
        assert {p.primitive for p in problems} == {p.name for p in skill.primitives()}
        for problem in problems:
            right, largest = answer(problem)
            assert problem.expected == right
            assert largest < 1 << bits
            assert skill.grade(problem, right) == 1.0


def test_every_level_can_be_tested_and_most_levels_in_every_primitive() -> None:
    for info in build().levels():
        assert info.testable
        assert info.level == 1 or all(p.testable for p in info.primitives)


def test_problems_fall_on_bins_sides_in_every_form() -> None:
    plain, skills = build(), (core(), make(symbol_keys=1.0))
    asked = {key for level in range(1, 6) for key in (p.key for p in plain.heldout(level, 60))}
    trained = {p.key for level in range(1, 6) for p in plain.drills(level, 1500, weights={}, seed=4)}
    for skill in skills:
        for level in (2, 4, 6, 8, 11, 15):
            trained |= {p.key for p in skill.drills(level, 1500, weights={}, seed=3)}
            asked |= {p.key for p in skill.heldout(level, 60)}
        assert all(skill.split_of(key) == plain.split_of(key) == "heldout" for key in asked)
        assert all(skill.split_of(key) == plain.split_of(key) == "train" for key in trained)
    assert trained.isdisjoint(asked)
    assert len(trained & {p.key for p in core().drills(4, 3000, weights={}, seed=9)}) > 300


@pytest.mark.parametrize(
    ("question", "right", "forgiven", "wrong"),
    [
        ("What is 101 + 1 in binary?", "110", (" 110\n",), ("0110", "110.", "6", "11", "110 110", "①①⓪")),
        ("Is 1 less than 10?", "yes", ("Yes", "YES "), ("yes.", "yes or no", "y", "yesyes", "ye\u017f")),
        ("What is the binary number 11 in decimal?", "3", ("3 ",), ("03", "11", "three", "٣")),
    ],
)
def test_what_an_answer_is_forgiven(
    question: str, right: str, forgiven: tuple[str, ...], wrong: tuple[str, ...]
) -> None:
    skill = build()
    problem = skill.recall(question)
    assert problem is not None
    assert problem.expected == right
    assert [skill.grade(problem, text) for text in (right, *forgiven)] == [1.0] * (1 + len(forgiven))
    assert [skill.grade(problem, text) for text in wrong] == [0.0] * len(wrong)


@pytest.mark.parametrize(
    "question",
    [
        "",
        "What is 12 + 1 in binary?",
        "What is 01 + 1 in binary?",
        "What is 1 - 10 in binary?",
        "Which binary number comes right before 0?",
        "What is the decimal number 65536 in binary?",
        f"What is the decimal number {'9' * 40} in binary?",
        "What is 101 + 1 in binary? ",
        "What is " + "1" * 1_000_000 + " + 1 in binary?",
    ],
)
def test_what_is_no_question_is_not_read_back(question: str) -> None:
    assert build().recall(question) is None
