from __future__ import annotations

import random

import pytest

from realm.core.errors import UsageError
from realm.evaluation.repeated import compare_seeds


def pairs(lost: int, won: int, total: int = 100) -> list[tuple[bool, bool]]:
    same = [(True, True)] * (total - lost - won)
    return [(True, False)] * lost + [(False, True)] * won + same


def test_several_seeds_give_students_t_of_their_differences() -> None:
    """Differences 0.1, 0.2, 0.3: mean 0.2, s = 0.1, half = 4.303 · 0.1 / √3 = 0.24843."""
    found = compare_seeds([[pairs(0, 10)], [pairs(5, 25)], [pairs(10, 40)]], purpose="t")
    assert found.difference == pytest.approx(0.2)
    assert found.low == pytest.approx(0.2 - 0.24843, abs=1e-4)
    assert found.high == pytest.approx(0.2 + 0.24843, abs=1e-4)
    assert "3 seeds" in found.method


def test_every_skill_counts_the_same_however_many_problems_it_has() -> None:
    seed = [pairs(0, 40, 100), pairs(0, 0, 1000)]
    assert compare_seeds([seed, seed], purpose="t").difference == pytest.approx(0.2)


def test_one_seed_speaks_for_itself_alone_and_says_so() -> None:
    found = compare_seeds([[pairs(2, 32)]], purpose="one")
    assert found.difference == pytest.approx(0.3)
    assert 0.15 < found.low < 0.3 < found.high < 0.45
    assert "this seed alone" in found.method
    assert compare_seeds([[pairs(2, 32)]], purpose="one") == found


def test_one_problem_of_one_seed_says_nothing() -> None:
    found = compare_seeds([[[(False, True)]]], purpose="one")
    assert (found.difference, found.low, found.high) == (1.0, -1.0, 1.0)


def test_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    """2,000 trials of 4 seeds whose true difference is 0.05: 95 % ± 2 % of the intervals hold it."""
    draw, held = random.Random(7), 0
    for _ in range(2000):
        seeds = []
        for _ in range(4):
            better = 0.05 + draw.gauss(0, 0.04)
            seeds.append([[(draw.random() < 0.6, draw.random() < 0.6 + better) for _ in range(60)]])
        found = compare_seeds(seeds, purpose="cover")
        held += found.low <= 0.05 <= found.high
    assert 0.93 <= held / 2000 <= 0.97


def test_nothing_to_compare_is_refused() -> None:
    for nothing in ([], [[]], [[[]]], [[pairs(1, 1)], []]):
        with pytest.raises(UsageError):
            compare_seeds(nothing, purpose="none")
