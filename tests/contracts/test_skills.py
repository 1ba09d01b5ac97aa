"""What every registered skill keeps, in every form it can be configured to."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from itertools import chain, pairwise
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realm.core import seeds
from realm.core.errors import NotFoundError, UsageError
from realm.skills.skill import (
    HELDOUT_PER_LEVEL,
    HELDOUT_PER_PRIMITIVE,
    SKILLS,
    LevelInfo,
    Problem,
    Skill,
)

FORMS: dict[str, list[dict[str, Any]]] = {
    "bin": [
        {},
        {"digit_order": "lsb"},
        {"digit_order": "lsb", "pad_digits": 6, "answer": "result"},
        {"pad_digits": 10, "system_prompt": "Rechne."},
        {"symbol_keys": 1.0, "auxiliary": 0.0, "variants": {"trace": 1}, "digit_order": "lsb"},
        {"auxiliary": 1.0, "symbol_keys": 0.3, "pad_digits": 6},
        {"answer": "result", "operations": "all", "variants": {"verify": 1, "show_work": 1}},
    ],
    "sy": [{}, {"formats": ["json_nested", "csv"], "system_prompt": "Puzzles."}],
    "word_puzzles": [{}, {"system_prompt": "Answer."}],
    "arithmetic": [{}, {"system_prompt": "Answer."}],
}
"""Other ways to write the same problems; a skill without an entry is tested in its default form."""

DRAWS = {"bin": 22_000, "binary_arithmetic": 12_000, "sy": 5_000, "word_puzzles": 5_000}
"""Problems drawn of each skill to look for a leak; those that are not named get `OTHER_DRAWS`."""
OTHER_DRAWS = 7_000

ELSEWHERE = {"file", "http", "reasoning_gym"}
"""Kinds that have to be told where their problems come from; their own tests build them."""

NAMES = [name for name in SKILLS.names() if name in FORMS or name not in ELSEWHERE]
SKILLS_IN_FORMS = [(name, form) for name in NAMES for form in FORMS.get(name, [{}])]


def build(name: str, form: dict[str, Any] | None = None) -> Skill:
    """Build a skill, in its first form unless told otherwise."""
    return SKILLS.build({"kind": name, **(form if form is not None else FORMS.get(name, [{}])[0])})


def question(problem: Problem) -> str:
    return problem.messages[-1].content


def drill(skill: Skill, level: int, count: int = 300, seed: int = 5) -> list[Problem]:
    return list(skill.drills(level, count, weights={}, seed=seed))


def some_levels(skill: Skill, most: int = 6) -> list[LevelInfo]:
    """Return up to so many levels, the lowest and the highest among them."""
    levels = skill.levels()
    if len(levels) <= most:
        return list(levels)
    return [levels[round(place * (len(levels) - 1) / (most - 1))] for place in range(most)]


def asked(skill: Skill, level: int, per_primitive: int = 4) -> list[Problem]:
    """Return problems of every way to get them."""
    return [
        *skill.heldout(level, per_primitive),
        *skill.probe(level, per_primitive, seed=1),
        *drill(skill, level, 5 * per_primitive, seed=2),
    ]


def edits(text: str, rng: random.Random) -> Iterator[str]:
    """Yield the text with one letter or digit left out, doubled, replaced or put behind the next."""
    places = [n for n, character in enumerate(text) if character.isalnum()]
    for place in rng.sample(places, min(3, len(places))):
        before, character, after = text[:place], text[place], text[place + 1 :]
        yield before + after
        yield before + character + character + after
        yield before + ("x" if character in "yY" else "y") + after
        if after and after[0].isalnum() and after[0] != character:
            yield before + after[0] + character + after[1:]


@pytest.mark.parametrize(("name", "form"), SKILLS_IN_FORMS)
def test_own_solution_is_right_and_near_misses_are_not(name: str, form: dict[str, Any]) -> None:
    skill = build(name, form)
    for info in some_levels(skill):
        problems = asked(skill, info.level)
        assert problems
        for problem in problems:
            right = problem.expected
            assert skill.grade(problem, right) == 1.0
            assert skill.grade(problem, f" {right}\n") == 1.0
            wrong = ["", right[:-1], f"{right} {right}", right + right[-1], right[::-1] + "x"]
            wrong += edits(right, seeds.rng("near misses", question(problem)))
            for answer in wrong:
                assert 0.0 <= skill.grade(problem, answer) < 1.0, (question(problem), answer)
        for problem, other in pairwise(problems):
            if other.expected != problem.expected:
                assert skill.grade(problem, other.expected) < 1.0, (question(problem), other.expected)


@pytest.mark.parametrize("name", NAMES)
def test_levels_have_the_numbers_that_are_told_before_any_is_counted(name: str) -> None:
    skill = build(name)
    assert list(skill.level_numbers()) == [info.level for info in skill.levels()]


@pytest.mark.parametrize(("name", "form"), SKILLS_IN_FORMS)
def test_no_answer_that_holds_the_right_one_among_others_counts(name: str, form: dict[str, Any]) -> None:
    skill = build(name, form)
    for info in some_levels(skill):
        problems = asked(skill, info.level, 3)
        answers = sorted({problem.expected for problem in problems})
        for problem in problems:
            right, prompt = problem.expected, question(problem)
            for answer in (
                *(mark.join(answers) for mark in ("\n", ", ", " ")),
                *(mark.join((right, *answers)) for mark in ("\n", "\n\n")),
                *(prompt, f"{prompt} {right}", f"{prompt}\n{right}"),
                *(f"The answer is {right}", f"I think it is {right}, but I am not sure", f"not {right}"),
            ):
                assert answer == right or 0.0 <= skill.grade(problem, answer) < 1.0, (prompt, answer)


@pytest.mark.parametrize(("name", "form"), SKILLS_IN_FORMS)
def test_answers_of_a_million_characters_are_wrong(name: str, form: dict[str, Any]) -> None:
    skill, size = build(name, form), 1_000_000
    for info in some_levels(skill, 2):
        for problem in {p.primitive: p for p in asked(skill, info.level)}.values():
            right = problem.expected
            for piece in (
                right,
                f"{right}\n",
                f"{right}, ",
                question(problem),
                "[",
                '{"a":',
                "1",
                "①",
                "(a|",
            ):
                assert skill.grade(problem, piece * (size // len(piece))) < 1.0
            assert skill.grade(problem, right + " " * size + "x") < 1.0
            assert skill.recall(question(problem) * (size // len(question(problem)))) is None


@pytest.mark.parametrize(("name", "form"), SKILLS_IN_FORMS)
def test_a_question_is_read_back_as_the_same_problem(name: str, form: dict[str, Any]) -> None:
    skill = build(name, form)
    for info in some_levels(skill):
        for problem in asked(skill, info.level, 8):
            found = skill.recall(question(problem))
            assert found is not None, problem
            assert found.model_copy(update={"level": problem.level}) == problem
            assert found.level <= problem.level
            assert skill.recall(f"{question(problem)}\nThen say why.") is None
            assert skill.recall(f"Well: {question(problem)}") is None
    for text in ("", " ", "\n", "Hello", "{0}", "①", "Compute: ", "\x00"):
        assert skill.recall(text) is None


class Draws(NamedTuple):
    """Keys and questions that were drawn of one skill in one form."""

    name: str
    form: dict[str, Any]
    trained: dict[str, str]
    heldout: dict[str, str]

    @property
    def count(self) -> int:
        return len(self.trained) + len(self.heldout)


def draw(name: str, form: dict[str, Any], count: int) -> tuple[Draws, int]:
    """Draw so many problems, with levels, counts and seeds by hash; return them and how many were drawn."""
    skill, rng = build(name, form), seeds.rng("draws", name, str(form))
    drawn, result = 0, Draws(name, form, {}, {})
    while drawn < count:
        level, seed = rng.choice(skill.levels()).level, rng.choice((rng.randrange(10), rng.getrandbits(63)))
        rows = rng.choice((1, 20, 400))
        trained = [*drill(skill, level, rows, seed), *skill.probe(level, rows // 20, seed=seed)]
        heldout = skill.heldout(level, rows // 10, seed=seed)
        result.trained.update((question(problem), problem.key) for problem in trained)
        result.heldout.update((question(problem), problem.key) for problem in heldout)
        drawn += len(trained) + len(heldout) or 1
    return result, drawn


@pytest.fixture(scope="module")
def draws() -> list[Draws]:
    """Return 100,000 draws of all skills in all forms."""
    forms = {name: FORMS.get(name, [{}]) for name in NAMES}
    plan = [
        (name, form, DRAWS.get(name, OTHER_DRAWS) // len(forms[name]))
        for name in forms
        for form in forms[name]
    ]
    found = [draw(*part) for part in plan]
    assert sum(drawn for _, drawn in found) >= 100_000
    return [part for part, _ in found]


def test_no_problem_is_both_trained_and_held_out_in_any_skill_or_form(draws: list[Draws]) -> None:
    trained = set(chain.from_iterable(part.trained.values() for part in draws))
    heldout = set(chain.from_iterable(part.heldout.values() for part in draws))
    assert len(trained) > 10_000
    assert len(heldout) > 5_000
    assert trained.isdisjoint(heldout)


def test_no_heldout_question_is_trained_in_its_words(draws: list[Draws]) -> None:
    """Within a form; other forms may write another problem so. Out of the box, also between skills."""
    for part in draws:
        assert part.trained
        assert part.heldout
        assert part.trained.keys().isdisjoint(part.heldout)
    plain = [part for part in draws if not part.form]
    for one in plain:
        for other in plain:
            assert one.trained.keys().isdisjoint(other.heldout), (one.name, other.name)


def test_skills_that_share_problems_share_their_sides(draws: list[Draws]) -> None:
    skills = {name: build(name) for name in NAMES}
    shared = set()
    for part in draws:
        sides = dict.fromkeys(list(part.trained.values())[:400], "train")
        sides |= dict.fromkeys(list(part.heldout.values())[:400], "heldout")
        own = build(part.name, part.form)
        assert all(own.split_of(key) == side for key, side in sides.items())
        for name, skill in skills.items():
            for key, side in sides.items():
                try:
                    found = skill.split_of(key)
                except UsageError:
                    continue
                assert found == side, (part.name, name, key)
                shared.add((part.name, name))
    assert {("binary_arithmetic", "bin"), ("word_puzzles", "sy")} <= shared
    assert ("arithmetic", "bin") not in shared


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=8, deadline=None)
@given(data=st.data())
def test_any_seed_and_count_keep_the_sides(name: str, data: st.DataObject) -> None:
    skill = build(name)
    level = data.draw(st.sampled_from(skill.levels())).level
    seed = data.draw(st.integers(-(2**63), 2**63))
    rows = drill(skill, level, data.draw(st.integers(0, 40)), seed)
    rows += skill.probe(level, data.draw(st.integers(0, 3)), seed=seed)
    assert {skill.split_of(row.key) for row in rows} <= {"train"}
    heldout = skill.heldout(level, data.draw(st.integers(0, 5)), seed=seed)
    assert {skill.split_of(row.key) for row in heldout} <= {"heldout"}
    assert {row.level for row in (*rows, *heldout)} <= {level}


@pytest.mark.parametrize(("name", "form"), SKILLS_IN_FORMS)
def test_one_question_has_one_answer(name: str, form: dict[str, Any]) -> None:
    skill = build(name, form)
    answers: dict[str, str] = {}
    for info in some_levels(skill):
        for problem in asked(skill, info.level, 40):
            assert answers.setdefault(question(problem), problem.expected) == problem.expected


@pytest.mark.parametrize("name", NAMES)
def test_everything_is_deterministic_and_the_seed_matters(name: str) -> None:
    one, two = build(name), build(name)
    for info in some_levels(one):
        n = info.level
        rows = drill(one, n, 60)
        assert rows == drill(two, n, 60)
        assert rows[:7] == drill(one, n, 7)
        assert rows != drill(one, n, 60, seed=6)
        assert one.heldout(n, 25) == two.heldout(n, 25)
        assert one.probe(n, 25, seed=4) == two.probe(n, 25, seed=4)
    assert one.probe(n, 25, seed=5) != one.probe(n, 25, seed=4)
    assert one.heldout(n, 25, seed=1) != one.heldout(n, 25)
    assert one.vocabulary() == two.vocabulary()


@pytest.mark.parametrize(("name", "form"), SKILLS_IN_FORMS)
def test_rows_carry_their_tags_and_cover_every_primitive(name: str, form: dict[str, Any]) -> None:
    skill = build(name, form)
    for info in some_levels(skill):
        problems = drill(skill, info.level, 400)
        for problem in problems:
            row = problem.example(name)
            assert set(row.tags) - {"form"} == {"skill", "primitive", "level", "key"}
            assert (row.tags["skill"], row.tags["level"]) == (name, info.level)
            assert row.messages[: len(skill.system)] == skill.system
            assert [m.role for m in row.messages[len(skill.system) :]] == ["user", "assistant"]
            assert Problem.of(row.tags, row.messages[:-1], row.messages[-1].content) == problem
        trainable = {p.name for p in info.primitives if p.problems > p.heldout}
        assert {problem.primitive for problem in problems} == trainable


@pytest.mark.parametrize("name", NAMES)
def test_weights_choose_what_is_drilled(name: str) -> None:
    skill = build(name)
    level = skill.levels()[-1].level
    first, second, *_ = [p.name for p in skill.level(level).primitives]
    rows = skill.drills(level, 1000, weights={first: 3.0, second: 1.0}, seed=0)
    drawn = Counter(row.primitive for row in rows)
    assert set(drawn) == {first, second}
    assert 0.70 < drawn[first] / 1000 < 0.80


@pytest.mark.parametrize("name", NAMES)
def test_heldout_asks_only_what_can_be_tested_and_each_problem_once(name: str) -> None:
    skill = build(name)
    for info in some_levels(skill):
        problems = skill.heldout(info.level, 40)
        expected = {p.name: min(40, p.heldout) for p in info.primitives if p.testable}
        assert Counter(p.primitive for p in problems) == expected
        assert len({p.key for p in problems}) == len(problems)
        fewer = skill.heldout(info.level, 10)
        assert set(fewer) <= set(problems)


@pytest.mark.parametrize("name", NAMES)
def test_what_a_level_counts_is_what_it_has(name: str) -> None:
    """A space that was counted gives exactly so many problems when all are asked for."""
    skill, most = build(name), 250
    for info in some_levels(skill, 3):
        heldout = Counter(p.primitive for p in skill.heldout(info.level, most))
        trained = Counter(p.primitive for p in skill.probe(info.level, most, seed=3))
        for p in info.primitives:
            if p.counted and p.testable:
                assert heldout[p.name] == min(most, p.heldout), (info.level, p)
            if p.counted:
                assert trained[p.name] == min(most, p.problems - p.heldout), (info.level, p)


@pytest.mark.parametrize("name", NAMES)
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
    for missing in (0, -1, len(skill.levels()) + 1):
        with pytest.raises(NotFoundError):
            skill.level(missing)


@pytest.mark.parametrize("name", NAMES)
def test_vocabulary_has_every_character_and_no_heldout_question(name: str) -> None:
    skill = build(name)
    texts, alphabet = skill.vocabulary()
    assert all(len(character) == 1 for character in alphabet)
    characters = set("".join(texts)) | set(alphabet)
    problems = [p for info in some_levels(skill) for p in skill.heldout(info.level, 40)]
    for problem in problems:
        assert set(question(problem) + problem.expected) <= characters
    assert {question(problem) for problem in problems}.isdisjoint(texts)


@pytest.mark.parametrize("name", NAMES)
def test_a_key_of_no_problem_is_refused(name: str) -> None:
    skill = build(name)
    for key in ("", " ", "nothing 1 2", "add", "\x00", "x" * 100_000):
        with pytest.raises(UsageError):
            skill.split_of(key)
