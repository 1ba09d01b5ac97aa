from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from realm.models.encodings import Encoded
from realm.training.batching import Unit, best_fit, pack, steps_in_all, steps_per_epoch
from realm.training.sampling import Order, Sampler

counts = st.integers(min_value=1, max_value=60)
ORDERS = st.sampled_from(["shuffled", "given"])


@st.composite
def encoded(draw: st.DrawFn) -> Encoded:
    ids = draw(st.lists(st.integers(0, 99), min_size=2, max_size=12))
    trained = draw(st.lists(st.booleans(), min_size=len(ids), max_size=len(ids)))
    return Encoded(np.array(ids, np.int32), np.array(trained, np.float32), 0, len(ids))


def drawn(step: int, rows: int, batch: int, *, order: Order, seed: int) -> list[int]:
    return Sampler(["a"] * rows, [1.0] * rows, order=order, seed=seed).rows_of_step(step, batch)


@settings(deadline=None)
@given(counts, counts, ORDERS, st.integers(0, 2**62), st.integers(0, 3))
def test_every_row_comes_exactly_once_an_epoch(
    rows: int, batch: int, order: Order, seed: int, epoch: int
) -> None:
    steps = steps_per_epoch(rows, batch)
    seen = [
        index
        for step in range(epoch * steps, (epoch + 1) * steps)
        for index in drawn(step, rows, batch, order=order, seed=seed)
    ]
    assert sorted(seen) == list(range(rows))


@given(st.integers(0, 200), st.integers(0, 2**62))
def test_order_is_a_function_of_the_seed_alone(step: int, seed: int) -> None:
    first = drawn(step, 37, 5, order="shuffled", seed=seed)
    assert first == drawn(step, 37, 5, order="shuffled", seed=seed)


def test_epochs_and_seeds_shuffle_differently_and_given_order_stays() -> None:
    orders = [drawn(epoch, 50, 50, order="shuffled", seed=seed) for seed in (1, 2) for epoch in (0, 1)]
    assert len({tuple(order) for order in orders}) == 4
    assert drawn(3, 10, 5, order="given", seed=1) == [5, 6, 7, 8, 9]


@given(st.lists(encoded(), min_size=1, max_size=40), st.integers(2, 40))
def test_best_fit_loses_nothing_fills_no_pack_too_far_and_wastes_little(
    rows: list[Encoded], limit: int
) -> None:
    units = [Unit((row,), index) for index, row in enumerate(rows)]
    packs = best_fit(units, limit)
    assert sorted(unit.row for members in packs for unit in members) == list(range(len(rows)))
    for members in packs:
        assert len(members) == 1 or sum(unit.tokens for unit in members) <= limit
    # No two packs would fit into one: a best fit never opens a pack while another has room.
    sizes = sorted(sum(unit.tokens for unit in members) for members in packs)
    if len(sizes) > 1:
        assert sizes[0] + sizes[1] > limit
    assert best_fit(units, None) == [units]


def _sized(*sizes: int) -> list[Unit]:
    return [
        Unit((Encoded(np.zeros(size, np.int32), np.ones(size, np.float32), 1, size),), index)
        for index, size in enumerate(sizes)
    ]


def _rows(packs: list[list[Unit]]) -> list[list[int]]:
    return [[unit.row for unit in members] for members in packs]


def test_a_unit_goes_where_it_leaves_the_least_room() -> None:
    assert _rows(best_fit(_sized(6, 5, 4), 10)) == [[0, 2], [1]]
    assert _rows(best_fit(_sized(2, 7, 6, 3, 12), 10)) == [[0, 2], [1, 3], [4]]


@given(st.lists(st.integers(2, 30), min_size=1, max_size=40), st.integers(2, 40))
def test_best_fit_is_the_plain_search_for_the_fullest_pack(sizes: list[int], limit: int) -> None:
    packs: list[list[int]] = []
    for index in sorted(range(len(sizes)), key=lambda i: (-sizes[i], i)):
        rooms = [limit - sum(sizes[i] for i in members) - sizes[index] for members in packs]
        fitting = [room for room in rooms if room >= 0]
        if fitting:
            packs[rooms.index(min(fitting))].append(index)
        else:
            packs.append([index])
    found = _rows(best_fit(_sized(*sizes), limit))
    assert sorted(sum(sizes[i] for i in members) for members in found) == sorted(
        sum(sizes[i] for i in members) for members in packs
    )


def test_length_of_a_run() -> None:
    assert steps_in_all(100, 30, epochs=None, steps=7) == 7
    assert steps_in_all(100, 30, epochs=2.0, steps=None) == 7
    assert steps_in_all(100, 30, epochs=0.001, steps=None) == 1
    assert steps_per_epoch(100, 30) == 4


@settings(deadline=None)
@given(st.lists(encoded(), min_size=1, max_size=8))
def test_a_pack_predicts_each_trained_token_from_the_place_before_it(rows: list[Encoded]) -> None:
    batch = pack(rows)
    found = sorted(
        (int(row), int(batch.inputs_N[at]), int(batch.positions_N[at]), int(target))
        for at, target, row in zip(batch.predict_at_M, batch.targets_M, batch.row_of_M, strict=True)
    )
    expected = sorted(
        (index, row.ids[place - 1], place - 1, row.ids[place])
        for index, row in enumerate(rows)
        for place in range(1, len(row.ids))
        if row.trained[place]
    )
    assert found == expected
    assert sum(count * length for count, length in batch.groups) == len(batch.inputs_N)
    assert sum(count for count, _ in batch.groups) == len(rows)
    assert batch.tokens == sum(len(row.ids) for row in rows)
    assert int((batch.positions_N == 0).sum()) == len(rows)
