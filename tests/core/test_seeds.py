from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from realm.core.hashing import hash_json
from realm.core.seeds import fraction, rng, seed

part = st.one_of(st.text(), st.integers(), st.booleans(), st.none())


def test_a_seed_is_the_same_for_ever() -> None:
    assert seed("a", 1) == 697930202312019326


@given(st.text(), st.lists(part, max_size=4), st.lists(part, max_size=4))
def test_different_ids_give_different_seeds(purpose: str, a: list[object], b: list[object]) -> None:
    same = hash_json([purpose, *a]) == hash_json([purpose, *b])
    assert (seed(purpose, *a) == seed(purpose, *b)) is same  # type: ignore[arg-type]


def test_neighbouring_indices_share_nothing() -> None:
    generators = [rng("x", 7, index) for index in range(50)]
    assert len({generator.random() for generator in generators for _ in range(3)}) == 150


def test_fractions_are_spread_evenly() -> None:
    values = [fraction("split", i) for i in range(5000)]
    assert 0.28 < sum(value < 0.3 for value in values) / 5000 < 0.32
