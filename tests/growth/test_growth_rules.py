from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from realm.growth.rules import Facts, SkillFacts, Stretch, effort, experience, quality, sheet, strain


def facts(**known: Any) -> Facts:
    nothing = {
        "hero_step": 0,
        "loss": None,
        "validation_loss": None,
        "accuracy": None,
        "correct_answers": 0,
        "stretches": (),
        "skills": (),
    }
    return Facts.model_validate({**nothing, **known})


def test_what_nobody_measured_is_absent() -> None:
    newborn = sheet(facts())
    assert (newborn.level, newborn.progress, newborn.experience) == (0, 0.0, 0.0)
    assert newborn.inverse_loss is None
    assert newborn.inverse_validation_loss is None
    assert newborn.accuracy is None


def test_a_trained_hero() -> None:
    skill = SkillFacts(skill="bin", mastered_level=3, training_level=4, streak=2)
    found = sheet(
        facts(hero_step=2450, loss=0.25, accuracy=(190, 200), correct_answers=1234, skills=(skill,))
    )
    assert (found.level, found.progress, found.hero_step) == (2, 0.45, 2450)
    assert found.inverse_loss == 4.0
    assert found.inverse_validation_loss is None
    assert found.accuracy == 0.95
    assert found.correct_answers == 1234
    assert found.skills == (skill,)
    assert sheet(facts(validation_loss=0.5)).inverse_validation_loss == 2.0


def test_an_evaluation_that_asked_nothing_is_no_accuracy() -> None:
    assert sheet(facts(accuracy=(0, 0))).accuracy is None


def test_a_loss_of_zero_has_no_inverse() -> None:
    assert sheet(facts(loss=0.0)).inverse_loss is None


def test_experience_is_effort_times_quality_of_what_was_evaluated() -> None:
    stretches = (
        Stretch(steps=100, loss=2.0, quality=0.5),
        Stretch(steps=50, loss=1.0, quality=None),
        Stretch(steps=10, loss=0.5, quality=1.0),
    )
    assert experience(stretches) == 105.0
    assert experience(stretches, floor=1.0) == 50.0
    assert sheet(facts(stretches=stretches)).experience == 105.0


def test_strain_is_never_negative() -> None:
    assert strain(0.3, 0.5) == 0.0
    assert strain(0.75, 0.5) == 0.25
    assert effort(Stretch(steps=4, loss=0.3, quality=1.0), floor=0.5) == 0.0


@given(st.floats(0, 1), st.floats(0, 1), st.floats(-1, 1))
def test_quality_is_a_share(accuracy: float, coverage: float, trend: float) -> None:
    assert 0 <= quality(accuracy, coverage, trend) <= 1 + 1e-12


def test_quality_weights() -> None:
    assert quality(1, 1, 1) == pytest.approx(1)
    assert quality(0.8, 0.5, 0) == pytest.approx(0.48 + 0.1 + 0.1)


@given(st.integers(0, 10**7))
def test_level_and_progress_are_the_steps(hero_step: int) -> None:
    found = sheet(facts(hero_step=hero_step))
    assert found.level * 1000 + round(found.progress * 1000) == hero_step


def test_numbers_that_are_none_are_refused() -> None:
    for loss in (float("nan"), -0.1):
        with pytest.raises(ValidationError):
            Stretch(steps=1, loss=loss, quality=None)
