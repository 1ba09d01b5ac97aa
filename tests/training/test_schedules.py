from __future__ import annotations

import math

import pytest
from pydantic import TypeAdapter, ValidationError

from realm.training.schedules import Constant, Cosine, Linear, Schedule, Wsd


def test_warm_up_is_a_straight_line_in_every_schedule() -> None:
    for schedule in (
        Constant(warmup_steps=4),
        Linear(warmup_steps=4, horizon_steps=10),
        Cosine(warmup_steps=4, horizon_steps=10),
        Wsd(warmup_steps=4, horizon_steps=10, decay_steps=2),
    ):
        assert [schedule.factor(p, 100) for p in range(4)] == [0.25, 0.5, 0.75, 1.0]


def test_linear_falls_to_its_floor_and_stays() -> None:
    schedule = Linear(warmup_steps=30, horizon_steps=450, floor=0.1)
    assert schedule.factor(30, 0) == 1.0
    assert schedule.factor(30 + 225, 0) == pytest.approx(0.55)
    assert schedule.factor(30 + 450, 0) == pytest.approx(0.1)
    assert schedule.factor(10_000, 0) == pytest.approx(0.1)


def test_cosine_follows_its_formula() -> None:
    schedule = Cosine(horizon_steps=8, floor=0.2)
    for position in range(9):
        expected = 0.2 + 0.8 * (1 + math.cos(math.pi * position / 8)) / 2
        assert schedule.factor(position, 0) == pytest.approx(expected)


def test_wsd_is_stable_then_decays() -> None:
    schedule = Wsd(horizon_steps=10, decay_steps=4, floor=0.0)
    factors = [schedule.factor(p, 0) for p in range(12)]
    assert factors == pytest.approx([1, 1, 1, 1, 1, 1, 1, 0.75, 0.5, 0.25, 0, 0])


def test_wsd_reaches_the_full_rate_whatever_its_decay() -> None:
    with pytest.raises(ValidationError, match=r"decay_steps \(100\) lie within horizon_steps \(10\)"):
        Wsd(warmup_steps=5, horizon_steps=10, decay_steps=100)
    # Of a run that is shorter than its decay nobody knew beforehand.
    schedule = Wsd(warmup_steps=5, decay_steps=100)
    assert [schedule.factor(p, 15) for p in (4, 5, 10, 15)] == pytest.approx([1, 1, 0.5, 0])


def test_without_a_horizon_the_run_ends_at_the_floor() -> None:
    schedule = Linear(warmup_steps=2, floor=0.5)
    assert schedule.factor(12, 12) == pytest.approx(0.5)
    assert schedule.factor(7, 12) == pytest.approx(0.75)


def test_the_heros_clock_needs_a_horizon() -> None:
    with pytest.raises(ValidationError, match="horizon_steps"):
        Linear(clock="hero")


def test_schedules_are_told_apart_by_kind() -> None:
    read = TypeAdapter(Schedule).validate_python({"kind": "wsd", "horizon_steps": 5, "decay_steps": 2})
    assert isinstance(read, Wsd)
