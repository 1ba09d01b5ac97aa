from __future__ import annotations

import math
from fractions import Fraction
from itertools import product
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realm.evaluation.statistics import (
    UNIT,
    at_most,
    bootstrap,
    holm,
    mcnemar,
    mean_interval,
    newcombe,
    problems_needed,
    sign_flip,
)

# Fisher 1935, The Design of Experiments, §21: Darwin's maize, eighths of an inch. Of 2^15 sums of signs
# 863 are at least as large as the one observed.
DARWIN = (49, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48)


@pytest.mark.parametrize("n", range(11))
def test_mcnemar_equals_brute_force(n: int) -> None:
    flips = [sum(flip) for flip in product((0, 1), repeat=n)]
    for losses in range(n + 1):
        assert mcnemar(losses, n - losses) == sum(x >= losses for x in flips) / 2**n


def test_mcnemar_known_value() -> None:
    # P(X >= 8 | 10, 1/2) = (45 + 10 + 1) / 1024
    assert mcnemar(8, 2) == 56 / 1024
    assert mcnemar(0, 0) == 1.0
    assert 0 < mcnemar(3000, 2000) < 1e-40


def test_mcnemar_of_fifteen_against_five() -> None:
    # (15504 + 4845 + 1140 + 190 + 20 + 1) / 2^20
    assert mcnemar(15, 5) == 21700 / 1048576


@given(st.integers(0, 400), st.integers(0, 400))
def test_mcnemar_is_a_chance_that_falls_with_losses(losses: int, wins: int) -> None:
    chance = mcnemar(losses, wins)
    assert 0 < chance <= 1
    assert mcnemar(losses + 1, wins) <= chance <= mcnemar(losses, wins + 1)


def test_sign_flips_of_darwins_maize() -> None:
    gained = [value / 100 for value in DARWIN]
    assert sign_flip(gained, purpose="maize") == 863 / 2**15
    assert sign_flip([-value for value in gained], purpose="maize") == pytest.approx(
        1 - 863 / 2**15, abs=1e-3
    )


@given(st.lists(st.integers(-4, 4).map(lambda n: n / 4), max_size=8))
def test_sign_flips_equal_brute_force(differences: list[float]) -> None:
    observed = sum(Fraction(d) for d in differences)
    sums = [
        sum((Fraction(s * d) for s, d in zip(signs, differences, strict=True)), Fraction(0))
        for signs in product((1, -1), repeat=len(differences))
    ]
    expected = sum(total >= observed for total in sums) / len(sums)
    assert sign_flip(differences, purpose="test") == pytest.approx(expected, abs=1e-12)


@given(st.integers(0, 60), st.integers(0, 60), st.integers(0, 20))
def test_sign_flips_of_right_and_wrong_are_mcnemar(wins: int, losses: int, ties: int) -> None:
    differences = [1.0] * wins + [-1.0] * losses + [0.0] * ties
    assert sign_flip(differences, purpose="test") == mcnemar(wins, losses)


def test_many_different_scores_are_flipped_at_random_and_always_alike() -> None:
    draw = Random(5)
    gained = [draw.randrange(-UNIT, UNIT) / UNIT for _ in range(120)]
    gained = [value + 0.06 for value in gained]
    chance = sign_flip(gained, purpose="test")
    z = sum(gained) / math.sqrt(sum(value * value for value in gained))
    normal = math.erfc(z / math.sqrt(2)) / 2
    assert chance == pytest.approx(normal, abs=0.02)
    assert chance == sign_flip(gained, purpose="test") > 0


def test_holm_corrects_each_chance_for_all() -> None:
    # Sorted 0.005, 0.01, 0.03, 0.04 times 4, 3, 2, 1, never falling.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx((0.03, 0.06, 0.06, 0.02))
    assert holm([0.6, 0.7]) == (1.0, 1.0)
    assert holm([0.04]) == (0.04,)
    assert holm([]) == ()


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_holm_keeps_the_order_and_lies_between_none_and_bonferroni(chances: list[float]) -> None:
    adjusted = holm(chances)
    for before, after in zip(chances, adjusted, strict=True):
        assert before <= after <= min(1.0, len(chances) * max(chances)) + 1e-12
    order = sorted(range(len(chances)), key=lambda i: chances[i])
    assert [adjusted[i] for i in order] == sorted(adjusted)
    assert adjusted[order[0]] == min(1.0, len(chances) * chances[order[0]])


def test_newcombes_interval_of_a_published_table() -> None:
    # Fagerland, Lydersen and Laake 2014, airway hyper-responsiveness: 1, 1, 7, 12; -0.507 to -0.026.
    low, high = newcombe(1, 7, 1, 12)
    assert (low, high) == (pytest.approx(-0.507, abs=6e-4), pytest.approx(-0.026, abs=6e-4))


@given(st.tuples(*[st.integers(0, 60)] * 4).filter(any))
def test_newcombes_interval_holds_the_difference_and_mirrors(cells: tuple[int, int, int, int]) -> None:
    both, lost, won, neither = cells
    low, high = newcombe(*cells)
    assert -1 <= low <= (won - lost) / sum(cells) + 1e-12
    assert (won - lost) / sum(cells) - 1e-12 <= high <= 1
    mirrored = newcombe(both, won, lost, neither)
    assert (low, high) == pytest.approx((-mirrored[1], -mirrored[0]), abs=1e-12)


def test_no_pairs_say_nothing() -> None:
    assert newcombe(0, 0, 0, 0) == mean_interval([], purpose="test") == (-1.0, 1.0)
    assert mean_interval([0.3], purpose="test") == (-1.0, 1.0)
    assert bootstrap(1, float, purpose="test") == (-1.0, 1.0)  # type: ignore[arg-type]
    assert sign_flip([0.0, 0.00001], purpose="test") == 1.0


@pytest.mark.parametrize(("total", "share"), [(1, 0.5), (12, 0.75), (30, 0.05)])
def test_the_lower_tail_equals_the_sum(total: int, share: float) -> None:
    for right in range(total + 1):
        exact = sum(
            Fraction(math.comb(total, k)) * Fraction(share) ** k * (1 - Fraction(share)) ** (total - k)
            for k in range(right + 1)
        )
        assert at_most(right, total, share) == pytest.approx(float(exact), rel=1e-9)
    assert at_most(3000, 10_000, 0.75) < 1e-300 or at_most(3000, 10_000, 0.75) == 0.0


def test_a_mean_of_scores_has_a_seeded_interval() -> None:
    draw = Random(3)
    values = [draw.gauss(0.1, 0.3) for _ in range(200)]
    low, high = mean_interval(values, purpose="test")
    assert (low, high) == mean_interval(values, purpose="test") != mean_interval(values, purpose="other")
    mean = sum(values) / 200
    error = math.sqrt(sum((v - mean) ** 2 for v in values)) / 200
    assert (low, high) == pytest.approx((mean - 1.96 * error, mean + 1.96 * error), abs=0.008)


def test_a_resample_draws_as_many_places_as_there_are() -> None:
    seen: list[list[int]] = []
    bootstrap(7, lambda places: float(seen.append(places) or 0), purpose="test")
    assert {len(places) for places in seen} == {7}
    assert {place for places in seen for place in places} == set(range(7))


def test_problems_needed() -> None:
    # ψ = 0.15, δ = 0.05: (1.6449·0.38730 + 0.8416·0.38406)² / 0.0025 = 368.7
    assert problems_needed(0.05, 0.15, alpha=0.05, power=0.8) == 369
    assert problems_needed(0.05, 0.0, alpha=0.05, power=0.8) == problems_needed(
        0.05, 0.05, alpha=0.05, power=0.8
    )
    assert problems_needed(0.1, 0.2, alpha=0.05, power=0.9) > problems_needed(0.1, 0.2, alpha=0.05, power=0.8)
