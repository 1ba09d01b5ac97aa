from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from realm.models.encodings import Encoded
from realm.training.batching import Unit
from realm.training.travelling import from_bytes, to_bytes

FLOATS = arrays(np.float32, st.integers(0, 4), elements=st.floats(width=32))


@st.composite
def encoded(draw: st.DrawFn) -> Encoded:
    ids = draw(arrays(np.int32, st.integers(0, 5)))
    weights = draw(arrays(np.float32, len(ids), elements=st.floats(0, 9, width=32)))
    return Encoded(ids, weights, draw(st.integers(0, 9)), draw(st.integers(0, 1 << 40)))


UNITS = st.builds(
    Unit,
    st.lists(encoded(), max_size=3).map(tuple),
    st.integers(0, 1 << 40),
    st.dictionaries(st.text(max_size=5), FLOATS, max_size=3),
    st.booleans(),
)


@given(st.lists(UNITS, max_size=4))
def test_units_arrive_bit_by_bit(units: list[Unit]) -> None:
    found = from_bytes(to_bytes(units))
    assert [(unit.row, unit.silent) for unit in found] == [(unit.row, unit.silent) for unit in units]
    for there, here in zip(found, units, strict=True):
        assert list(there.facts) == list(here.facts)
        for name, values in here.facts.items():
            assert there.facts[name].dtype == np.float32
            assert there.facts[name].tobytes() == values.tobytes()
        for got, sent in zip(there.sequences, here.sequences, strict=True):
            assert (got.turns, got.full_tokens) == (sent.turns, sent.full_tokens)
            assert (got.ids.dtype, got.weights.dtype) == (np.int32, np.float32)
            assert got.ids.tobytes() == sent.ids.tobytes()
            assert got.weights.tobytes() == sent.weights.tobytes()


def test_what_arrives_may_become_tensors() -> None:
    row = Encoded(np.arange(3, dtype=np.int32), np.ones(3, np.float32), 1, 3)
    (unit,) = from_bytes(to_bytes([Unit((row,), 0, {"reward": np.ones(1, np.float32)})]))
    assert torch.from_numpy(unit.facts["reward"]).tolist() == [1.0]
