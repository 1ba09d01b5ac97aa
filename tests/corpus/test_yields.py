"""What generators and validators yield, and how two versions differ."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from realm.core.errors import ConfigError
from realm.corpus.assembly.yields import Yield, compare, merged, yield_of
from realm.corpus.tally import Tally


def made(identity: str, accepted: int, **rejected: int) -> Yield:
    tally = Tally()
    for reason, count in rejected.items():
        tally.add(reason, "a.jsonl:1", count)
    return yield_of(identity, accepted, tally)


def test_a_yield_is_what_was_accepted_and_rejected_by_reason() -> None:
    found = made("bin@2", 90, empty=7, long=3)
    assert (found.name, found.version, found.seen, found.rate) == ("bin", "2", 100, 0.9)
    assert [(each.reason, each.count) for each in found.rejected] == [("empty", 7), ("long", 3)]
    assert made("a@b@3", 0).name == "a@b"
    assert made("a@b@3", 0).rate is None


@pytest.mark.parametrize("identity", ["bin", "@1", "bin@"])
def test_an_identity_has_a_version(identity: str) -> None:
    with pytest.raises(ConfigError, match="version"):
        made(identity, 1)


def test_yields_of_one_version_add_up() -> None:
    found = merged([made("b@1", 1, empty=1), made("a@2", 5), made("b@1", 2, empty=2, long=1), made("b@2", 9)])
    assert [(each.name, each.version, each.accepted, each.seen) for each in found] == [
        ("a", "2", 5, 5),
        ("b", "1", 3, 7),
        ("b", "2", 9, 9),
    ]


def test_a_version_bump_is_compared_by_reason_with_bounds() -> None:
    found = compare(made("bin@1", 900, empty=80, long=20), made("bin@2", 490, long=10))
    assert (found.before, found.after) == ("1", "2")
    assert found.difference == pytest.approx(0.08)
    assert found.low < found.difference < found.high
    assert found.certain
    assert [(each.reason, each.before_per_1000, each.after_per_1000) for each in found.reasons] == [
        ("empty", 80, 0),
        ("long", 20, 20),
    ]
    assert not compare(made("bin@1", 9, empty=1), made("bin@2", 10)).certain


def test_bounds_are_those_of_the_published_example() -> None:
    # Newcombe 1998, Statistics in Medicine 17:873, example (a): 56/70 and 48/80, 0.0524 to 0.3339.
    found = compare(made("x@1", 48, no=32), made("x@2", 56, no=14))
    assert (found.low, found.high) == (pytest.approx(0.0524, abs=5e-5), pytest.approx(0.3339, abs=5e-5))


def test_only_versions_of_one_thing_with_rows_are_compared() -> None:
    with pytest.raises(ConfigError, match="two versions"):
        compare(made("a@1", 1), made("b@2", 1))
    with pytest.raises(ConfigError, match="saw no rows"):
        compare(made("a@1", 1), made("a@2", 0))


@given(*[st.integers(0, 200)] * 4)
@example(0, 1, 194, 0)
def test_the_difference_lies_within_its_bounds(a: int, b: int, c: int, d: int) -> None:
    if a + b and c + d:
        found = compare(made("x@1", a, no=b), made("x@2", c, no=d))
        assert -1 <= found.low <= found.difference + 1e-12
        assert found.difference - 1e-12 <= found.high <= 1
