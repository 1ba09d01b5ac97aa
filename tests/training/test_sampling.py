from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from realm.core.errors import ConfigError
from realm.core.seeds import rng
from realm.training.rules import Mixture, Source
from realm.training.sampling import Sampler, mixed, refuse_unmet


@given(st.integers(1, 60), st.integers(0, 2**62), st.integers(0, 3))
def test_equal_weights_give_the_plain_shuffle_of_every_row(rows: int, seed: int, epoch: int) -> None:
    expected = list(range(rows))
    rng("order", seed, epoch).shuffle(expected)
    sampler = Sampler(["a" if i % 3 else "b" for i in range(rows)], [2.5] * rows, order="shuffled", seed=seed)
    assert sampler.order(epoch) == expected


def _sampler(shares: list[tuple[int, float]], seed: int = 0) -> Sampler:
    names = [str(i) for i, (size, _) in enumerate(shares) for _ in range(size)]
    weights = [weight for size, weight in shares for _ in range(size)]
    return Sampler(names, weights, order="shuffled", seed=seed)


def test_an_example_of_rounding() -> None:
    assert list(_sampler([(1, 4.1), (1, 2), (1, 1), (7, 1)]).quotas(0).values()) == [3, 1, 1, 5]
    assert list(_sampler([(3, 1.5), (3, 1.0), (4, 1.0)]).quotas(0).values()) == [4, 3, 3]


@settings(deadline=None, max_examples=50)
@given(
    st.lists(st.tuples(st.integers(1, 20), st.floats(0.05, 10)), min_size=2, max_size=4),
    st.integers(0, 2**62),
)
def test_epochs_hold_each_sources_share_in_the_long_run_and_repeat_none_early(
    sources: list[tuple[int, float]], seed: int
) -> None:
    sampler = _sampler(sources, seed)
    rows = sum(size for size, _ in sources)
    masses = [size * weight for size, weight in sources]
    exact = [rows * mass / sum(masses) for mass in masses]
    names = [i for i, (size, _) in enumerate(sources) for _ in range(size)]
    drawn: Counter[int] = Counter()
    for epoch in range(6):
        order = sampler.order(epoch)
        counts = Counter(names[i] for i in order)
        assert len(order) == rows
        assert [counts[i] for i in range(len(sources))] == list(sampler.quotas(epoch).values())
        assert all(abs(counts[i] - share) < 1 for i, share in enumerate(exact))
        drawn.update(order)
        for i, share in enumerate(exact):
            each = [drawn[row] for row in range(rows) if names[row] == i]
            assert abs(sum(each) - share * (epoch + 1)) < len(sources)
            assert max(each) - min(each) <= 1, "a row came again before all others had come"
    assert _sampler(sources, seed).order(5) == sampler.order(5), "an epoch needs none before it"
    assert _sampler(sources, seed).order(1) == sampler.order(1), "nor forgets one behind it"


def test_a_source_with_less_than_a_row_an_epoch_has_its_turn_in_some() -> None:
    sampler = _sampler([(9, 1.0), (1, 0.1)])
    drawn = [sampler.quotas(epoch)["1"] for epoch in range(91)]
    assert (drawn[0], sum(drawn), set(drawn)) == (0, 10, {0, 1})


def test_steps_cut_epochs_and_need_nothing_but_their_number() -> None:
    names, weights = ["a"] * 7 + ["b"] * 5, [1.0] * 7 + [3.0] * 5
    whole = [
        i
        for step in range(6)
        for i in Sampler(names, weights, order="shuffled", seed=4).rows_of_step(step, 5)
    ]
    sampler = Sampler(names, weights, order="shuffled", seed=4)
    assert whole == sampler.order(0) + sampler.order(1)
    assert sampler.rows_of_step(4, 5) == whole[17:22]
    assert sampler.order(0) != sampler.order(1)


def test_the_given_order_stays_with_repeats_side_by_side() -> None:
    sampler = Sampler(["a", "a", "b"], [1, 1, 4], order="given", seed=0)
    assert sampler.quotas(0) == {"a": 1, "b": 2}
    assert sampler.order(0) == sorted(sampler.order(0))
    assert sampler.order(0)[1:] == [2, 2]


def test_a_mixture_weighs_rows_by_their_tag() -> None:
    sources, weights = mixed(
        ["f", "g"],
        [1.0, 2.0],
        np.asarray([0, 0, 1]),
        ["code", "", "code"],
        Mixture(by="domain", weights={"code": 3}),
    )
    assert sources == ["f/domain=code", "f/domain=", "g/domain=code"]
    assert weights == [3.0, 1.0, 6.0]


@pytest.mark.parametrize(
    ("by", "weights", "message"),
    [
        (
            "domian",
            {"code": 3},
            r"the tag 'domian', which no row has\n.*did you mean 'domain'\? .*'domain', 'role'",
        ),
        ("domain", {"cqq": 3}, r"'cqq', which no row has, and none to 'code', 'talk'"),
        ("domain", {"code": 2, "tolk": 3}, r"'tolk'.* none to 'talk'\n.*did you mean 'talk'\?"),
    ],
)
def test_a_mixture_by_what_no_row_has_is_refused(by: str, weights: dict[str, float], message: str) -> None:
    tags = ["code", "talk", "", "talk"] if by == "domain" else [""] * 4
    with pytest.raises(ConfigError, match=message):
        refuse_unmet(Mixture(by=by, weights=weights), tags, ["role", "domain", "domain"])


def test_a_mixture_may_have_weights_for_more_than_the_rows_hold() -> None:
    refuse_unmet(Mixture(by="domain", weights={"code": 3, "talk": 1, "law": 2}), ["code", "talk", ""], [])


@pytest.mark.parametrize("weight", [float("inf"), float("nan"), 1e308, 0.0])
def test_weights_that_no_share_can_be_made_of_are_refused(weight: float) -> None:
    with pytest.raises(ValidationError):
        Mixture(by="domain", weights={"code": weight})
    with pytest.raises(ValidationError):
        Source(dataset="a", weight=weight)
