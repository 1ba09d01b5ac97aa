"""Rewards: skills' own graders, Python functions, and their weighted sum."""

from __future__ import annotations

from pathlib import Path

import pytest

from realm.core.errors import ConfigError, RefusedError
from realm.skills.skill import SKILLS
from realm.training.reward import REWARDS, WeightedReward, question_of

BIN = {"kind": "skill", "skill": {"kind": "bin"}}


def test_a_skill_grades_its_own_drills() -> None:
    reward = REWARDS.build(BIN)
    for problem in SKILLS.build("bin").drills(2, 20, weights={}, seed=1):
        row = problem.example("bin")
        question = question_of(row)
        reward.check(question)
        assert question.expected == row.messages[-1].content
        assert reward.score(question, f" {question.expected}\n") == 1.0
        assert reward.score(question, "①⓪①⓪①") == 0.0


def test_what_is_expected_may_stand_apart_from_the_chat() -> None:
    row = next(SKILLS.build("bin").drills(1, 1, weights={}, seed=2)).example("bin")
    apart = row.model_copy(update={"messages": row.messages[:-1], "expected": row.messages[-1].content})
    assert question_of(apart)[:2] == question_of(row)[:2]


def test_a_python_reward_sees_prompt_answer_and_row() -> None:
    reward = REWARDS.build({"kind": "python", "function": "training_rewards:echo"})
    row = next(SKILLS.build("bin").drills(1, 1, weights={}, seed=3)).example("bin")
    question = question_of(row.model_copy(update={"expected": row.messages[-2].content}))
    assert reward.score(question, row.messages[-2].content) == 1.5
    assert reward.score(question, "no") == 0.0


def _given(name: str) -> float:
    row = next(SKILLS.build("bin").drills(1, 1, weights={}, seed=3)).example("bin")
    reward = REWARDS.build({"kind": "python", "function": "training_rewards:given"})
    return reward.score(question_of(row), name)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("float32", 8.0), ("bool", 1.0), ("tensor", 0.5), ("fraction", 0.25), ("largest", -1e6)],
)
def test_a_python_reward_may_be_any_number(name: str, expected: float) -> None:
    assert _given(name) == expected


@pytest.mark.parametrize("name", ["huge", "unprintable", "float", "infinity", "words", "none", "several"])
def test_what_is_no_number_of_use_is_refused_with_the_functions_name(name: str) -> None:
    with pytest.raises(RefusedError, match="the reward training_rewards:given"):
        _given(name)


@pytest.mark.parametrize(
    ("function", "reason"),
    [("raising", "raised ZeroDivisionError: division by zero"), ("leaving", "raised SystemExit: 3")],
)
def test_a_python_reward_that_fails_is_named_with_what_it_raised(
    function: str, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    row = next(SKILLS.build("bin").drills(1, 1, weights={}, seed=3)).example("bin")
    reward = REWARDS.build({"kind": "python", "function": f"training_rewards:{function}"})
    with pytest.raises(RefusedError, match=f"the reward training_rewards:{function} {reason}"):
        reward.score(question_of(row), "")
    assert "training_rewards.py" in caplog.text


def test_a_module_that_fails_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "failing_rewards.py").write_text("raise KeyError('a setting')\n")
    monkeypatch.syspath_prepend(tmp_path)
    row = next(SKILLS.build("bin").drills(1, 1, weights={}, seed=3)).example("bin")
    with pytest.raises(RefusedError, match=r"failing_rewards:f cannot be imported: KeyError: 'a setting'"):
        REWARDS.build({"kind": "python", "function": "failing_rewards:f"}).check(question_of(row))


@pytest.mark.parametrize("function", ["os.system", "a b:c", ":f", "module:", "../x:f"])
def test_a_function_is_named_by_module_and_name(function: str) -> None:
    with pytest.raises(ConfigError, match="function"):
        REWARDS.config({"kind": "python", "function": function})


def test_weighted_rewards_round_trip_through_json() -> None:
    one = WeightedReward.model_validate({"reward": BIN, "weight": 0.5})
    assert WeightedReward.model_validate_json(one.model_dump_json()) == one
