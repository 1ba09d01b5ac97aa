"""The adapter against the real library; without it, the message that says what to install."""

from __future__ import annotations

from importlib.util import find_spec

import pytest

from realm.core.errors import ConfigError, MissingExtraError, NotFoundError, UsageError
from realm.skills.skill import SKILLS, Skill

installed = find_spec("reasoning_gym") is not None
needs_library = pytest.mark.skipif(not installed, reason="NOT TESTED: reasoning-gym is not installed")


def build(dataset: str, **more: object) -> Skill:
    return SKILLS.build({"kind": "reasoning_gym", "dataset": dataset, **more})


def test_without_the_library_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("realm.skills.catalogue.reasoning_gym.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"realm-lab\[reasoning-gym\]"):
        build("chain_sum")


@needs_library
def test_levels_are_groups_of_options_and_sides_never_meet() -> None:
    levels = [{"max_digits": 2}, {"min_digits": 3, "max_digits": 4}]
    skill = build("chain_sum", options={"min_terms": 2, "max_terms": 3}, levels=levels)
    assert [info.level for info in skill.levels()] == [1, 2]
    for info in skill.levels():
        assert info.testable
        drawn = list(skill.drills(info.level, 600, weights={}, seed=1))
        asked = skill.heldout(info.level, 100)
        assert {p.key for p in drawn}.isdisjoint({p.key for p in asked})
        assert {p.messages[-1].content for p in drawn}.isdisjoint({p.messages[-1].content for p in asked})
        assert (len(asked), len({p.key for p in drawn}) > 300) == (100, True)
        assert drawn[:40] == list(skill.drills(info.level, 40, weights={}, seed=1))
        assert drawn[:40] != list(skill.drills(info.level, 40, weights={}, seed=2))
        assert all(skill.recall(p.messages[-1].content) == p for p in asked)
        assert all(skill.grade(p, f" {p.expected}\n") == 1.0 for p in (*asked, *drawn))
    assert skill.recall("What is 1 + 1?") is None
    assert build("chain_sum").version != skill.version


@needs_library
@pytest.mark.parametrize(
    "dataset",
    [
        *(
            "chain_sum",
            "letter_jumble",
            "countdown",
            "simple_integration",
            "game_of_life_halting",
            "mini_sudoku",
        ),
        *("fraction_simplification", "tower_of_hanoi", "gsm_symbolic"),
    ],
)
def test_wrong_answers_never_count_and_run_nothing(dataset: str, capsys: pytest.CaptureFixture[str]) -> None:
    skill = build(dataset)
    first, *others = list(skill.drills(1, 6, weights={}, seed=4))
    assert skill.grade(first, first.expected) == 1.0
    listing = "\n".join(
        [first.expected, *(each.expected for each in others if each.expected != first.expected)]
    )
    code = "__import__('pathlib').Path('/tmp/realm-canary').touch()"
    question = first.messages[-1].content
    hostile = (
        "",
        "?",
        question,
        f"{listing}\nx",
        f"x {first.expected}",
        code,
        "9**9**9",
        "(" * 900,
        "x" * 10**6,
    )
    assert [skill.grade(first, answer) for answer in hostile] == [0.0] * len(hostile)
    assert capsys.readouterr().out == ""


@needs_library
def test_the_librarys_scorer_takes_another_right_answer() -> None:
    skill = build("simple_equations")
    problem = next(skill.drills(1, 1, weights={}, seed=0))
    assert skill.grade(problem, problem.expected) == 1.0
    steps = build("tower_of_hanoi", options={"min_disks": 2, "max_disks": 2})
    tower = next(steps.drills(1, 1, weights={}, seed=0))
    assert steps.grade(tower, tower.expected.replace("\n", " \n")) == 1.0


@needs_library
def test_bad_settings_are_refused() -> None:
    with pytest.raises(NotFoundError, match="did you mean chain_sum"):
        build("chain_sums")
    for options in ({"max_digit": 2}, {"min_digits": 5, "max_digits": 2}, {"seed": 3}, {"size": 3}):
        with pytest.raises(ConfigError, match="reasoning_gym chain_sum"):
            build("chain_sum", options=options)
    with pytest.raises(ConfigError, match="no answer in words"):
        build("graph_color")
    skill = build("chain_sum")
    problem = next(skill.drills(1, 1, weights={}, seed=0)).model_copy(update={"form": "../1"})
    with pytest.raises(UsageError, match="names no item"):
        skill.grade(problem, "1")
