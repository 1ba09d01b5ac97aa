from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from realm.training.fast.buffers import Scratch

FRAMES = st.recursive(
    st.integers(min_value=0, max_value=70), lambda inner: st.lists(inner, max_size=5), max_leaves=20
)


def fill(scratch: Scratch, wanted: int | list[object], held: list[torch.Tensor], marks: list[int]) -> None:
    """Take a matrix, or a frame of several, each filled with a number of its own; check all at each end."""
    if isinstance(wanted, list):
        with scratch.frame():
            inner = list(held)
            for each in wanted:
                assert isinstance(each, int | list)
                fill(scratch, each, inner, marks)
            assert all(bool((x == mark).all()) for x, mark in zip(inner, marks, strict=False))
        del marks[len(held) :]
        return
    marks.append(len(marks) + 1)
    held.append(scratch.take(wanted).fill_(marks[-1]))


@given(st.lists(FRAMES, max_size=6), st.lists(FRAMES, max_size=6))
def test_what_is_held_is_never_overwritten(first: list[object], second: list[object]) -> None:
    scratch = Scratch(torch.float64)
    for wanted in (first, second, first):  # the second time from memory that has grown
        fill(scratch, wanted, [], [])


def test_memory_is_used_again_after_a_frame_and_made_once() -> None:
    scratch = Scratch(torch.float32)
    places = []
    for _ in range(3):
        with scratch.frame():
            kept = scratch.take(3, 5)
            with scratch.frame():
                places.append([kept.data_ptr(), scratch.take(40).data_ptr()])
            places[-1].append(scratch.take(2, 20).data_ptr())
    assert places[1] == places[2]
    assert places[1][1] == places[1][2], "what an inner frame took is free again"
    assert (places[1][1] - places[1][0]) % 64 == 0


def test_a_frame_that_fails_frees_what_it_took() -> None:
    scratch = Scratch(torch.float32)
    for _ in range(2):
        try:
            with scratch.frame():
                scratch.take(100)
                raise KeyError
        except KeyError:
            pass
    with scratch.frame():
        first = scratch.take(100).data_ptr()
    with scratch.frame():
        assert scratch.take(100).data_ptr() == first
