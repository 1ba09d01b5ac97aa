"""Attention in batches of rows about equally long against torch's own, row by row."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import scaled_dot_product_attention

from realm.training.fast import attention
from realm.training.fast.attention import Rows, attend, attend_backward
from realm.training.fast.buffers import Scratch

torch.set_num_threads(1)
HEADS, KEY_HEADS, SIZE, SCALE = 4, 2, 8, 0.3
EXACT = torch.float64


def drawn(tokens: int, seed: int) -> list[torch.Tensor]:
    """Queries, keys and values of a pack, and a gradient of what attention makes of them."""
    draw = torch.Generator().manual_seed(seed)
    heads = (HEADS, KEY_HEADS, KEY_HEADS, HEADS)
    return [torch.randn(tokens, each, SIZE, dtype=EXACT, generator=draw) for each in heads]


def row_by_row(lengths: list[int], tensors: list[torch.Tensor]) -> list[torch.Tensor]:
    """What torch finds: the output, and the gradients of queries, keys and values."""
    *heads, grad = tensors
    leaves = [x.clone().requires_grad_() for x in heads]
    outs = []
    for parts in zip(*(torch.split(x, lengths) for x in leaves), strict=True):
        query, key, value = (part.transpose(0, 1)[None] for part in parts)
        found = scaled_dot_product_attention(query, key, value, is_causal=True, scale=SCALE, enable_gqa=True)
        outs.append(found[0].transpose(0, 1))
    out = torch.cat(outs)
    return [out.detach(), *torch.autograd.grad(out, leaves, grad)]


def in_batches(lengths: list[int], tensors: list[torch.Tensor]) -> list[torch.Tensor]:
    *heads, grad = tensors
    rows = Rows(tuple((1, length) for length in lengths), HEADS, KEY_HEADS, EXACT)
    scratch = Scratch(EXACT)
    # Whatever is not written would show.
    out, *grads = (torch.full_like(x, torch.nan) for x in (grad, *heads))
    for _ in range(2):  # the second time in memory that holds the first one's numbers
        attend(heads, rows, SCALE, out, scratch)
        attend_backward(grad, heads, rows, SCALE, grads, scratch)
    return [out, *grads]


@settings(max_examples=60, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 70), min_size=1, max_size=9),
    long=st.sampled_from([32, 64, 384]),
    at_once=st.sampled_from([1, 3000, 1 << 20]),
    seed=st.integers(0, 1000),
)
def test_values_and_gradients_equal_torchs(lengths: list[int], long: int, at_once: int, seed: int) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(attention, "LONG", long)
        patched.setattr(attention, "QUERIES_AT_ONCE", 24)
        patched.setattr(attention, "SCORES_AT_ONCE", at_once)
        tensors = drawn(sum(lengths), seed)
        for found, expected in zip(in_batches(lengths, tensors), row_by_row(lengths, tensors), strict=True):
            torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)


def test_rows_are_batched_by_length_and_long_ones_taken_alone_in_pieces() -> None:
    groups = ((3, 20), (1, 30), (2, 31), (1, 1000))
    rows = Rows(groups, HEADS, KEY_HEADS, EXACT)
    together, *pieces = rows.batches
    assert (together.rows, together.queries) == (6, slice(0, 152))
    assert {piece.rows for piece in pieces} == {1}
    assert max(HEADS * (p.queries.stop - p.queries.start) * (p.keys.stop - p.keys.start) for p in pieces) <= (
        attention.SCORES_AT_ONCE
    )
    assert sorted((p.queries.start, p.queries.stop) for p in pieces)[0][0] == 152
    assert sum(p.queries.stop - p.queries.start for p in pieces) == 1000


def test_no_batch_holds_more_scores_than_are_held_at_once() -> None:
    rows = Rows(((400, 100),), HEADS, KEY_HEADS, EXACT)
    assert len(rows.batches) > 1
    assert all(batch.rows * HEADS * 128**2 <= attention.SCORES_AT_ONCE for batch in rows.batches)
