from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realm.evaluation.intervals import pool, wilson


@pytest.mark.parametrize(
    ("correct", "total", "low", "high"),
    [
        # Newcombe 1998, table I, method 3 (score interval without continuity correction)
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_known_values(correct: int, total: int, low: float, high: float) -> None:
    found = wilson(correct, total)
    assert found.low == pytest.approx(low, abs=5e-5)
    assert found.high == pytest.approx(high, abs=5e-5)


@given(st.integers(1, 5000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_interval_holds_the_share_and_mirrors(part: tuple[int, int]) -> None:
    correct, total = part
    found, mirrored = wilson(correct, total), wilson(total - correct, total)
    assert 0 <= found.low <= correct / total <= found.high <= 1
    assert found.low == pytest.approx(1 - mirrored.high, abs=1e-12)
    assert (found.low == 0) == (correct == 0)
    assert (found.high == 1) == (correct == total)


@given(st.integers(1, 2000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_ends_solve_the_score_equation(part: tuple[int, int]) -> None:
    correct, total = part
    share = correct / total
    for end in (wilson(correct, total).low, wilson(correct, total).high):
        assert (share - end) ** 2 == pytest.approx(1.959964**2 * end * (1 - end) / total, abs=1e-9)


def test_nothing_asked_says_nothing() -> None:
    found = wilson(0, 0)
    assert (found.low, found.high) == (0.0, 1.0)


@pytest.mark.parametrize(("correct", "total"), [(2, 1), (-1, 5)])
def test_impossible_counts_are_refused(correct: int, total: int) -> None:
    with pytest.raises(ValueError, match="not possible"):
        wilson(correct, total)


def test_pooling_adds_answers() -> None:
    assert pool([wilson(3, 10), wilson(9, 10)]) == wilson(12, 20)
    assert pool([]) == wilson(0, 0)
