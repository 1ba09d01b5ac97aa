from __future__ import annotations

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from realm.skills.catalogue.bin import Bin
from realm.skills.curriculum.config import CurriculumConfig, SkillSettings
from realm.skills.curriculum.mixing import standing
from realm.skills.curriculum.presets import PRESETS, PresetName
from realm.skills.curriculum.rules import begin
from realm.skills.curriculum.strategies import STRATEGIES, Standing, StrategyName, spread


def one(skill: str, **known: float) -> Standing:
    fields = {"priority": 0, "weight": 1.0, "need": 0.5, "gained": 0, **known}
    return Standing.model_validate({"skill": skill, **fields})


def test_the_names_are_those_of_the_tables() -> None:
    assert get_args(StrategyName) == tuple(STRATEGIES)
    assert get_args(PresetName) == tuple(PRESETS)
    assert len(PRESETS) == 8


def test_equal_gives_every_skill_the_same() -> None:
    skills = [one("a", need=1.0), one("b", weight=9.0), one("c", gained=5)]
    assert spread("equal", skills, 300) == {"a": 100, "b": 100, "c": 100}
    assert list(spread("equal", skills, 301).values()) == [101, 100, 100]


def test_weighted_follows_the_weights() -> None:
    assert spread("weighted", [one("a"), one("b", weight=3.0)], 400) == {"b": 300, "a": 100}


def test_focus_prefers_priority_then_errors_then_the_first() -> None:
    def focused(*skills: Standing) -> str:
        rows = spread("focus", skills, 1000)
        assert rows[next(iter(rows))] == 700
        return next(iter(rows))

    assert focused(one("a"), one("b"), one("c")) == "a"
    assert focused(one("a"), one("b", need=0.6), one("c", need=0.2)) == "b"
    assert focused(one("a"), one("b", need=0.6), one("c", need=0.2, priority=1)) == "c"
    assert spread("focus", [one("a")], 100) == {"a": 100}


def test_catch_up_gives_more_to_a_skill_that_is_behind() -> None:
    rows = spread("catch_up", [one("a", gained=4), one("b", gained=1), one("c", gained=4)], 600)
    assert rows == {"b": 400, "a": 100, "c": 100}


def test_higher_priority_comes_first_whatever_the_rows() -> None:
    skills = [one("a", weight=5.0), one("b"), one("c", priority=2), one("d", priority=-1, weight=9.0)]
    assert list(spread("weighted", skills, 1600)) == ["c", "a", "b", "d"]


@given(
    strategy=st.sampled_from(list(STRATEGIES)),
    skills=st.lists(
        st.builds(
            one,
            st.just("x"),
            priority=st.integers(-3, 3),
            weight=st.floats(1e-6, 1000),
            need=st.floats(0, 1),
            gained=st.integers(0, 50),
        ),
        max_size=6,
    ),
    total=st.integers(0, 5000),
)
def test_rows_are_neither_lost_nor_invented(
    strategy: StrategyName, skills: list[Standing], total: int
) -> None:
    named = [skill.model_copy(update={"skill": str(i)}) for i, skill in enumerate(skills)]
    rows = spread(strategy, named, total)
    assert sum(rows.values()) == (total if named else 0)
    assert all(count > 0 for count in rows.values())
    shares = STRATEGIES[strategy](named) if named else []
    for skill, share in zip(named, shares, strict=True):
        assert abs(rows.get(skill.skill, 0) - total * share / sum(shares)) < 1


def test_what_a_strategy_knows_of_a_skill() -> None:
    skill = Bin(Bin.Config())
    config = CurriculumConfig(skills={"mine": SkillSettings(priority=3, weight=2.0)})
    state = begin(skill, config)
    assert standing(config, skill, "mine", state) == one("mine", priority=3, weight=2.0, need=1.0)
    names = [p.name for p in skill.level(5).primitives]
    measured = state.model_copy(update={"training_level": 5, "weakness": dict.fromkeys(names, 0.25)})
    found = standing(config, skill, "other", measured)
    assert (found.need, found.gained, found.priority) == (0.25, 2, 0)


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_a_whole_curriculum_and_says_what_it_is_for(name: PresetName) -> None:
    config = CurriculumConfig(preset=name)
    default = CurriculumConfig()
    differs = {
        field
        for field in CurriculumConfig.model_fields
        if field != "preset" and getattr(config, field) != getattr(default, field)
    }
    assert differs == set(PRESETS[name].settings)
    assert PRESETS[name].purpose
    assert CurriculumConfig.model_validate(config.model_dump(mode="json")) == config
    others = [CurriculumConfig(preset=other) for other in PRESETS if other != name]
    assert config.model_dump(exclude={"preset"}) not in [o.model_dump(exclude={"preset"}) for o in others]


def test_what_is_set_beside_a_preset_wins() -> None:
    config = CurriculumConfig.model_validate({"preset": "sprint", "evaluations": 4})
    assert (config.evaluations, config.preview_weight) == (4, 0.25)


def test_unknown_names_and_impossible_settings_are_refused() -> None:
    for wrong in (
        {"preset": "sprnt"},
        {"strategy": "fair"},
        {"preset": ["sprint"]},
        {"skills": {"bin": {"weight": 0}}},
        {"skills": {"bin": {"weigth": 1}}},
        {"skills": {"bin": {"priority": 101}}},
    ):
        with pytest.raises(ValidationError):
            CurriculumConfig.model_validate(wrong)
