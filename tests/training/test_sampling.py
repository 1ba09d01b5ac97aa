from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from realm.core.seeds import rng
from realm.training.rules import Mixture
from realm.training.sampling import Sampler, apportion, mixed

masses = st.lists(st.floats(0.01, 50), min_size=1, max_size=6)


@given(st.integers(0, 500), masses)
def test_shares_are_rounded_by_largest_remainders(total: int, weights: list[float]) -> None:
    counts = apportion(total, weights)
    assert sum(counts) == total
    assert all(abs(count - total * w / sum(weights)) < 1 for count, w in zip(counts, weights, strict=True))


def test_an_example_of_rounding() -> None:
    assert apportion(10, [1, 1, 1]) == [4, 3, 3]
    assert apportion(7, [3.4, 2.3, 1.3]) == [4, 2, 1]


@given(st.integers(1, 60), st.integers(0, 2**62), st.integers(0, 3))
def test_equal_weights_give_the_plain_shuffle_of_every_row(rows: int, seed: int, epoch: int) -> None:
    expected = list(range(rows))
    rng("order", seed, epoch).shuffle(expected)
    sampler = Sampler(["a" if i % 3 else "b" for i in range(rows)], [2.5] * rows, order="shuffled", seed=seed)
    assert sampler.order(epoch) == expected


@settings(deadline=None, max_examples=50)
@given(
    st.lists(st.tuples(st.integers(1, 20), st.floats(0.05, 10)), min_size=2, max_size=4),
    st.integers(0, 2**62),
)
def test_every_epoch_holds_each_sources_share_and_repeats_none_early(
    sources: list[tuple[int, float]], seed: int
) -> None:
    names = [str(i) for i, (size, _) in enumerate(sources) for _ in range(size)]
    weights = [weight for size, weight in sources for _ in range(size)]
    sampler = Sampler(names, weights, order="shuffled", seed=seed)
    quotas = apportion(len(names), [size * weight for size, weight in sources])
    drawn: Counter[int] = Counter()
    for epoch in range(4):
        order = sampler.order(epoch)
        assert [Counter(names[i] for i in order)[str(i)] for i in range(len(sources))] == quotas
        drawn.update(order)
        for name in set(names):
            counts = [drawn[i] for i in range(len(names)) if names[i] == name]
            assert max(counts) - min(counts) <= 1, "a row came again before all others had come"


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
    assert sampler.quotas == {"a": 1, "b": 2}
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
