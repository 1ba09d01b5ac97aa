"""What every registered skill keeps, in every form it can be configured to."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from realm.core.errors import NotFoundError
from realm.core.records import Example
from realm.skills.skill import HELDOUT_PER_LEVEL, HELDOUT_PER_PRIMITIVE, SKILLS, Problem, Skill

FORMS: dict[str, list[dict[str, Any]]] = {
    "bin": [
        {},
        {"digit_order": "lsb"},
        {"digit_order": "lsb", "pad_digits": 6, "answer": "result"},
        {"pad_digits": 10, "system_prompt": "Rechne."},
    ],
}
"""Other ways to write the same problems; a skill without an entry is tested in its default form."""

SKILLS_IN_FORMS = [(name, form) for name in SKILLS.names() for form in FORMS.get(name, [{}])]


def build(name: str, form: dict[str, Any] | None = None) -> Skill:
    return SKILLS.build({"kind": name, **(form or {})})


def drill(skill: Skill, level: int, count: int = 300, seed: int = 5) -> list[Example]:
    return [row.example(skill.name) for row in skill.drills(level, count, weights={}, seed=seed)]


def question(row: Example | Problem) -> str:
    return row.messages[1].content


@pytest.mark.parametrize(("name", "form"), SKILLS_IN_FORMS)
def test_own_solution_is_right_and_others_are_wrong(name: str, form: dict[str, Any]) -> None:
    skill = build(name, form)
    for info in skill.levels():
        problems = [*skill.heldout(info.level, 20), *skill.probe(info.level, 12, seed=1)]
        assert problems
        other = {problem.expected for problem in problems}
        for problem in problems:
            right = problem.expected
            assert skill.grade(problem, right) == 1.0
            assert skill.grade(problem, f" {right}\n") == 1.0
            for wrong in (
                "",
                right[:-1],
                f"{right}.",
                f"{right} {right}",
                right + right[-1],
                right[::-1] + "x",
            ):
                assert skill.grade(problem, wrong) < 1.0, (question(problem), wrong)
            assert all(skill.grade(problem, answer) < 1.0 for answer in other - {right})


@pytest.mark.parametrize("name", SKILLS.names())
def test_training_and_heldout_never_meet_at_any_level_or_form(name: str) -> None:
    skills = [build(name, form) for form in FORMS.get(name, [{}])]
    heldout: set[str] = set()
    trained: set[str] = set()
    for skill in skills:
        for info in skill.levels():
            heldout |= {p.key for p in skill.heldout(info.level, 200)}
            trained |= {p.key for p in skill.probe(info.level, 100, seed=3)}
            trained |= {str(row.tags["key"]) for row in drill(skill, info.level, 500)}
    assert len(heldout) > 1000
    assert len(trained) > 1000
    assert heldout.isdisjoint(trained)
    for skill in skills:
        assert {skill.split_of(key) for key in heldout} == {"heldout"}
        assert {skill.split_of(key) for key in trained} == {"train"}


@pytest.mark.parametrize(("name", "form"), SKILLS_IN_FORMS)
def test_no_heldout_question_is_trained_in_its_words(name: str, form: dict[str, Any]) -> None:
    skill = build(name, form)
    asked = {question(p) for info in skill.levels() for p in skill.heldout(info.level, 300)}
    seen = {question(row) for info in skill.levels() for row in drill(skill, info.level, 500)}
    assert asked
    assert asked.isdisjoint(seen)


@pytest.mark.parametrize(("name", "form"), SKILLS_IN_FORMS)
def test_one_question_has_one_answer(name: str, form: dict[str, Any]) -> None:
    skill = build(name, form)
    answers: dict[str, str] = {}
    for info in skill.levels():
        for row in drill(skill, info.level, 800):
            assert answers.setdefault(question(row), row.messages[2].content) == row.messages[2].content
        for problem in (*skill.heldout(info.level, 60), *skill.probe(info.level, 60, seed=2)):
            assert answers.setdefault(question(problem), problem.expected) == problem.expected


@pytest.mark.parametrize("name", SKILLS.names())
def test_everything_is_deterministic_and_the_seed_matters(name: str) -> None:
    one, two = build(name), build(name)
    for info in one.levels():
        n = info.level
        assert drill(one, n) == drill(two, n)
        assert drill(one, n, 50) == drill(one, n, 300)[:50]
        assert drill(one, n, seed=6) != drill(one, n)
        assert one.heldout(n, 25) == two.heldout(n, 25)
        assert one.probe(n, 25, seed=4) == two.probe(n, 25, seed=4)
    assert one.probe(n, 25, seed=5) != one.probe(n, 25, seed=4)
    assert one.vocabulary() == two.vocabulary()


@pytest.mark.parametrize("name", SKILLS.names())
def test_rows_carry_their_tags_and_cover_every_primitive(name: str) -> None:
    skill = build(name)
    for info in skill.levels():
        rows = drill(skill, info.level, 600)
        for row in rows:
            assert set(row.tags) == {"skill", "primitive", "level", "key"}
            assert (row.tags["skill"], row.tags["level"]) == (name, info.level)
            assert [m.role for m in row.messages] == ["system", "user", "assistant"]
        trainable = {p.name for p in info.primitives if p.problems > p.heldout}
        assert {row.tags["primitive"] for row in rows} == trainable


@pytest.mark.parametrize("name", SKILLS.names())
def test_weights_choose_what_is_drilled(name: str) -> None:
    skill = build(name)
    level = skill.levels()[-1].level
    first, second, *_ = [p.name for p in skill.level(level).primitives]
    rows = skill.drills(level, 2000, weights={first: 3.0, second: 1.0}, seed=0)
    drawn = Counter(row.primitive for row in rows)
    assert set(drawn) == {first, second}
    assert 0.70 < drawn[first] / 2000 < 0.80


@pytest.mark.parametrize("name", SKILLS.names())
def test_heldout_asks_only_what_can_be_tested_and_each_problem_once(name: str) -> None:
    skill = build(name)
    for info in skill.levels():
        problems = skill.heldout(info.level, 40)
        expected = {p.name: min(40, p.heldout) for p in info.primitives if p.testable}
        assert Counter(p.primitive for p in problems) == expected
        assert len({p.key for p in problems}) == len(problems)
        fewer = skill.heldout(info.level, 10)
        assert set(fewer) <= set(problems)


@pytest.mark.parametrize("name", SKILLS.names())
def test_levels_say_what_can_be_tested(name: str) -> None:
    skill = build(name)
    names = [p.name for p in skill.primitives()]
    assert [info.level for info in skill.levels()] == list(range(1, len(skill.levels()) + 1))
    for info in skill.levels():
        assert [p.name for p in info.primitives] == names
        for p in info.primitives:
            assert p.testable == (p.heldout >= HELDOUT_PER_PRIMITIVE)
            assert 0 <= p.heldout <= p.problems
        total = sum(p.heldout for p in info.primitives if p.testable)
        assert info.testable == (total >= HELDOUT_PER_LEVEL)
        assert skill.level(info.level) == info
    with pytest.raises(NotFoundError):
        skill.level(len(skill.levels()) + 1)


@pytest.mark.parametrize("name", SKILLS.names())
def test_vocabulary_has_every_character_and_no_heldout_question(name: str) -> None:
    skill = build(name)
    texts, alphabet = skill.vocabulary()
    assert all(len(character) == 1 for character in alphabet)
    characters = set("".join(texts)) | set(alphabet)
    asked = [p for info in skill.levels() for p in skill.heldout(info.level, 40)]
    for problem in asked:
        assert set(question(problem) + problem.expected) <= characters
    assert {question(problem) for problem in asked}.isdisjoint(texts)
