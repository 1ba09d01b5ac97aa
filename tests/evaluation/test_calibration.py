from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from realm.core.seeds import fraction, rng
from realm.evaluation.calibration import (
    CalibrationConfig,
    Sure,
    calibrate,
    compare_calibration,
    expected_error,
    fit_temperature,
    reliability,
    tempered,
)
from realm.evaluation.comparison import Pair

SHARES = st.floats(0, 1)


def answers(count: int, heat: float, purpose: str = "test") -> list[Sure]:
    """Right as often as `tempered(confidence, heat)` says."""
    draw = rng("tests/calibration", purpose, heat)
    made = []
    for i in range(count):
        confidence = draw.random()
        right = draw.random() < tempered(confidence, heat)
        made.append(Sure(key=f"problem {i}", confidence=confidence, score=float(right)))
    return made


def test_the_error_by_hand() -> None:
    sure, scores = [0.95, 0.85, 0.92, 0.3], [1.0, 0.0, 1.0, 1.0]
    # (0.9, 1.0]: 0.935 against 1, twice; (0.8, 0.9]: 0.85 against 0; (0.2, 0.3]: 0.3 against 1.
    assert expected_error(sure, scores, 10, "width") == pytest.approx((2 * 0.065 + 0.85 + 0.7) / 4)
    # Two halves: 0.575 against 0.5 and 0.935 against 1.
    assert expected_error(sure, scores, 2, "mass") == pytest.approx((0.075 + 0.065) / 2)


def test_an_edge_belongs_to_the_bin_below() -> None:
    table = reliability([0.0, 0.5, 0.51, 1.0], [0, 1, 1, 1], 2, "width")
    assert [row.answers for row in table] == [2, 2]
    assert (table[0].low, table[0].high, table[1].high) == (0.0, 0.5, 1.0)


def test_equal_confidences_stay_in_one_bin() -> None:
    table = reliability([0.7] * 20, [1, 0] * 10, 10, "mass")
    assert [row.answers for row in table if row.answers] == [20]
    assert expected_error([0.7] * 20, [1, 0] * 10, 10, "mass") == pytest.approx(0.2)
    assert expected_error([], [], 10, "mass") == 0.0


@given(st.lists(st.tuples(SHARES, SHARES), min_size=1, max_size=60), st.integers(2, 12))
def test_every_answer_is_in_one_bin_of_its_range(pairs: list[tuple[float, float]], bins: int) -> None:
    sure, scores = [p[0] for p in pairs], [p[1] for p in pairs]
    for table in (reliability(sure, scores, bins, "width"), reliability(sure, scores, bins, "mass")):
        assert sum(row.answers for row in table) == len(pairs)
        assert len(table) <= bins
        assert all(row.low - 1e-9 <= row.confidence <= row.high + 1e-9 for row in table if row.answers)
    assert 0 <= expected_error(sure, scores, bins, "width") <= 1


def test_mass_bins_hold_equally_many() -> None:
    sure = [i / 101 for i in range(1, 101)]
    assert [row.answers for row in reliability(sure, [0.0] * 100, 10, "mass")] == [10] * 10


@pytest.mark.parametrize("heat", [0.5, 1.0, 2.5])
def test_the_temperature_is_the_one_the_answers_came_from(heat: float) -> None:
    sure = [i / 200 for i in range(1, 200)]
    assert fit_temperature(sure, [tempered(c, heat) for c in sure]) == pytest.approx(heat, rel=1e-6)
    found = calibrate(answers(3000, heat))
    assert found.fitted
    assert found.temperature == pytest.approx(heat, rel=0.12)


def test_a_temperature_mends_a_model_that_is_too_sure() -> None:
    found = calibrate(answers(3000, 3.0))
    assert found.width_error > 0.12
    assert found.corrected_error < 0.03
    assert found.mass_error == pytest.approx(found.width_error, abs=0.02)
    assert len(found.table) == 10
    assert sum(row.answers for row in found.table) == 3000


def test_where_no_temperature_helps_it_is_said() -> None:
    always = [Sure(key=str(i), confidence=0.9, score=1.0) for i in range(40)]
    backwards = [
        Sure(key=str(i), confidence=0.9 if i % 2 else 0.1, score=float(i % 2 == 0)) for i in range(40)
    ]
    assert not calibrate(always).fitted
    assert not calibrate(backwards).fitted
    assert calibrate([always[0]]).answers == 1
    with pytest.raises(ValueError, match="at least one"):
        calibrate([])


@given(SHARES, st.floats(0.05, 20))
def test_a_temperature_keeps_the_side(confidence: float, temperature: float) -> None:
    found = tempered(confidence, temperature)
    assert 0 <= found <= 1
    assert (found - 0.5) * (confidence - 0.5) >= -1e-9


def pairs(before: float, after: float, count: int = 200) -> list[Pair]:
    """Both right at 80 %; `before` and `after` are how much too sure they are."""
    draw = rng("tests/calibration/pairs", before, after)
    return [
        Pair(
            part="p",
            primitive="x",
            before=float(draw.random() < 0.8),
            after=float(draw.random() < 0.8),
            before_confidence=0.8 + before,
            after_confidence=0.8 + after,
        )
        for _ in range(count)
    ]


def test_a_model_that_got_too_sure_is_told_from_luck() -> None:
    worse = compare_calibration(pairs(0.0, 0.19))
    assert worse is not None
    assert worse.low > 0.05
    assert worse.low < worse.difference < worse.high
    same = compare_calibration(pairs(0.01, 0.01))
    assert same is not None
    assert same.low < 0.02
    better = compare_calibration(pairs(0.19, 0.0))
    assert better is not None
    assert better.high < 0


def test_confidences_that_are_missing_are_no_comparison() -> None:
    whole = pairs(0, 0, 3)
    assert compare_calibration([]) is None
    unknown = [pair.model_copy(update={"after_confidence": None}) for pair in whole]
    assert compare_calibration(unknown) is None
    some = compare_calibration([*whole, *unknown])
    assert some is not None
    assert (some.answers, some.before) == (3, pytest.approx(0.2))


def test_settings_are_bounded() -> None:
    for options in ({"bins": 1}, {"kind": "area"}):
        with pytest.raises(ValidationError):
            CalibrationConfig.model_validate(options)


def test_a_correction_is_measured_on_answers_it_was_not_fitted_on() -> None:
    keys = sorted((f"problem {i}" for i in range(8)), key=lambda k: fraction("evaluation/calibration", k))
    sure, unsure = (
        Sure(key=keys[0], confidence=0.9, score=1.0),
        Sure(key=keys[-1], confidence=0.3, score=1.0),
    )
    hot, cold = fit_temperature([0.3], [1.0]), fit_temperature([0.9], [1.0])
    assert hot > 10 > 0.1 > cold
    # The first is tempered by what the second says, and the second by the first.
    mended = [tempered(0.9, hot), tempered(0.3, cold)]
    assert calibrate([sure, unsure]).corrected_error == pytest.approx(
        expected_error(mended, [1.0, 1.0], 10, "width")
    )
