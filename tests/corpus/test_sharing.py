"""Sharing: nothing leaves a rig without its word, and what was given counts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_rows import example, row

from realm.corpus.assembly.sharing import (
    Contribution,
    ContributionCounter,
    DistinctContributions,
    SharingConfig,
    may_train,
    may_use,
)

RIGS = [None, "one", "two", "three"]


@pytest.mark.parametrize(
    ("giver", "taker", "allowed"),
    [
        (None, None, True),
        (None, "one", True),
        ("one", "one", True),
        ("one", "two", True),
        ("one", "three", False),
        ("one", None, False),
        ("two", "one", True),
        ("two", None, True),
        ("three", "one", False),
        ("three", "three", True),
    ],
)
def test_rigs_share_by_opt_in(giver: str | None, taker: str | None, allowed: bool) -> None:
    config = SharingConfig(rigs={"one": ("two",), "two": ("all",)})
    assert may_train(row(example("q", "a"), rig=giver), taker, config) is allowed


@given(st.sampled_from(RIGS), st.sampled_from(RIGS))
def test_by_default_a_rig_keeps_its_rows(giver: str | None, taker: str | None) -> None:
    allowed = may_train(row(example("q", "a"), rig=giver), taker, SharingConfig())
    assert allowed is (giver is None or giver == taker)


def test_contributions_count_accepted_rows_by_contributor() -> None:
    given_ = [
        row(example("q", "a"), contributor="ann", rig="one"),
        row(example("q", "b"), contributor="ann", rig="two"),
        row(example("q", "c"), contributor="bob"),
        row(example("q", "d")),
    ]
    counter = ContributionCounter()
    for each in given_:
        counter.add(each)
    assert counter.contributions() == (
        Contribution(contributor="ann", rows=2, rigs=("one", "two")),
        Contribution(contributor="bob", rows=1, rigs=()),
    )


def test_who_gave_enough_may_use_the_model() -> None:
    first = (Contribution(contributor="ann", rows=60, rigs=()),)
    second = (
        Contribution(contributor="ann", rows=40, rigs=()),
        Contribution(contributor="bob", rows=99, rigs=()),
    )
    config = SharingConfig(min_rows=100)
    assert may_use("ann", [first, second], config).allowed
    refused = may_use("bob", [first, second], config)
    assert not refused.allowed
    assert refused.reason == "99 accepted rows are too few: 100 are needed"
    assert not may_use("eve", [first, second], config).allowed
    assert not may_use("eve", [], SharingConfig()).allowed


def test_a_row_in_several_datasets_is_given_once() -> None:
    counter = DistinctContributions()
    given_ = [
        row(example("q", "a"), contributor="ann", rig="one"),
        row(example("q", "a", level=2), contributor="ann"),
        row(example("q", "a"), contributor="bob"),
        row(example("q", "b"), contributor="ann"),
        row(example("q", "c")),
    ]
    for each in given_:
        counter.add(each.example, each.origin)
    assert counter.contributions() == (
        Contribution(contributor="ann", rows=2, rigs=("one",)),
        Contribution(contributor="bob", rows=1, rigs=()),
    )
