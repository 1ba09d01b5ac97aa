from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from realm.growth.blessing import AppraisalConfig, appraise
from realm.growth.rituals import Health
from realm.growth.rules import Stretch, effort, effort_of, experience, quality


def health(factor: float) -> Health:
    return Health(checks=(), unknown=(), factor=factor)


@pytest.mark.parametrize(
    ("quality", "factor", "verdict"),
    [
        (0.8, 1.0, "strong"),
        (0.79, 1.0, "partial"),
        (1.0, 0.8, "strong"),
        (1.0, 0.76, "partial"),
        (0.4, 1.0, "partial"),
        (0.39, 1.0, "weak"),
        (1.0, 0.0, "weak"),
    ],
)
def test_the_verdict_goes_by_quality_and_health(quality: float, factor: float, verdict: str) -> None:
    assert appraise(10.0, quality, health(factor)).verdict == verdict


def test_experience_is_effort_times_quality_times_health() -> None:
    made = effort_of([2.0, 1.5, 0.2], floor=0.5)
    assert made == 2.5
    found = appraise(made, quality(0.9, 1.0, 0.0), health(0.95))
    assert found.quality == pytest.approx(0.54 + 0.2 + 0.1)
    assert found.experience == pytest.approx(2.5 * 0.84 * 0.95)
    assert found.worth == pytest.approx(0.84 * 0.95)
    assert appraise(made, 0.9, health(0.0)).experience == 0


def test_effort_step_by_step_equals_the_means_where_no_step_is_below_the_floor() -> None:
    losses = [2.0, 1.0, 0.6]
    assert effort_of(losses, 0.5) == pytest.approx(effort(Stretch(steps=3, loss=1.2, quality=None), 0.5))
    assert effort_of([0.1, 0.9], 0.5) > effort(Stretch(steps=2, loss=0.5, quality=None), 0.5) == 0


def test_a_stretch_in_poor_health_is_worth_less() -> None:
    well = Stretch(steps=10, loss=1.0, quality=0.5)
    assert experience([well]) == 5.0
    assert experience([well.model_copy(update={"health": 0.8})]) == 4.0
    assert experience([well.model_copy(update={"health": 0.0})]) == 0.0


@given(st.floats(0, 1), st.floats(0, 1), st.floats(-1, 1), st.floats(0, 1))
def test_the_best_there_is_fits_in(accuracy: float, coverage: float, trend: float, factor: float) -> None:
    found = appraise(1.0, quality(accuracy, coverage, trend), health(factor))
    assert found.experience == found.worth <= found.quality <= 1


def test_settings_are_ordered() -> None:
    with pytest.raises(ValidationError, match="partial is above strong"):
        AppraisalConfig(strong=0.3)
    assert appraise(1, 0.6, health(1), AppraisalConfig(strong=0.6)).verdict == "strong"
