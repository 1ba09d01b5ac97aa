from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from realm.skills.split import PairSplit, shuffled


@given(st.integers(0, 300), st.integers())
def test_shuffled_visits_each_number_once(size: int, seed: int) -> None:
    assert sorted(shuffled(size, random.Random(seed))) == list(range(size))


def test_shuffled_favours_no_place() -> None:
    counts = [[0] * 5 for _ in range(5)]
    for seed in range(4000):
        for place, number in enumerate(shuffled(5, random.Random(seed))):
            counts[place][number] += 1
    assert all(700 < count < 900 for row in counts for count in row)


def test_shuffled_starts_at_once_in_a_huge_range() -> None:
    visits = shuffled(2**60, random.Random(0))
    assert len({next(visits) for _ in range(1000)}) == 1000


def test_share_is_kept_and_a_higher_share_only_adds() -> None:
    low, high = (PairSplit("x", 1, share, width=512) for share in (0.25, 0.35))
    rows = [(low.row("add", n), high.row("add", n)) for n in range(200)]
    assert 0.24 < sum(sum(a) for a, _ in rows) / (200 * 512) < 0.26
    assert 0.34 < sum(sum(b) for _, b in rows) / (200 * 512) < 0.36
    assert all(x <= y for a, b in rows for x, y in zip(a, b, strict=True))


def test_width_does_not_move_the_split() -> None:
    short, long = (PairSplit("x", 1, 0.3, width=width) for width in (32, 4096))
    assert long.row("add", 7)[:32] == short.row("add", 7)
