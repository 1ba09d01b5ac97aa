"""Causal attention within the rows of a pack, in products of as many rows as are about equally long.

torch's own kernel takes one matrix a row and head, and rows of one length at a time; packs have a row
of nearly every length, and such calls leave most of two cores idle. Here rows are filled up to a
multiple of 32 tokens and multiplied in batches. What stands behind a row's end is seen by nothing that
stands before it. Of a long row, some queries at a time meet the keys up to the last of them.

Nothing is kept for the backward pass: scores and their softmax are computed again.

Shapes: R rows, T tokens of the longest of them, W queries at a time, H query heads, G key heads, J = H / G,
D head size, N tokens of a pack.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import torch

from realm.training.attention import Groups
from realm.training.fast.buffers import Scratch

FILLED_TO = 32
"""Rows are filled up to multiples of this many tokens."""
LONG = 384
"""Rows of more tokens than this are taken alone, some queries at a time."""
QUERIES_AT_ONCE = 128
"""Of a long row, unless its scores are too many."""
SCORES_AT_ONCE = 1 << 20
"""Scores that are held at a time, in fp32 4 MiB; more where 32 queries of one row have more."""


@dataclass(frozen=True, slots=True)
class _Filled:
    """Where rows lie once they are filled up: heads outside, (R, H or G, T) places of D numbers each."""

    there: torch.Tensor
    """Of each place, which of the pack's is copied there; any other one of its row behind the row's end."""
    back: torch.Tensor
    """Of each of the pack's, its place."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Queries that meet their keys in one product."""

    rows: int
    queries: slice
    """Tokens of the pack whose queries these are."""
    keys: slice
    """Tokens of the pack whose keys they meet: those before them in their rows, and themselves."""
    filled: tuple[_Filled, _Filled] | None = None
    """Of queries and of keys; none where there is one row."""
    beyond: torch.Tensor | None = None
    """Places of queries behind their rows' ends."""
    adds: bool = False
    """Whether a batch before this one has begun these keys' gradients."""


class Rows:
    """A pack's rows in batches, for one number of heads."""

    def __init__(self, groups: Groups, heads: int, key_heads: int, dtype: torch.dtype) -> None:
        self.heads, self.key_heads = heads, key_heads
        self.batches = [*self._batches([tokens for rows, tokens in groups for _ in range(rows)])]
        self._hidden = torch.full((LONG, LONG), -torch.inf, dtype=dtype).triu_(1)

    def hide_later(self, scores: torch.Tensor) -> torch.Tensor:
        """Take out of scores (R · G, J · W, T) what comes after their queries; return them."""
        tokens, width = scores.shape[2], scores.shape[1] * self.key_heads // self.heads
        scores.view(-1, width, tokens)[..., tokens - width :] += self._hidden[:width, :width]
        return scores

    def _batches(self, lengths: Sequence[int]) -> Iterator[Batch]:
        begin = 0
        for width, several in groupby(lengths, lambda length: -(-length // FILLED_TO) * FILLED_TO):
            same = [*several]
            if width > LONG:
                for length in same:
                    yield from self._pieces(begin, length)
                    begin += length
                continue
            at_once = max(1, SCORES_AT_ONCE // (self.heads * width**2))
            for first in range(0, len(same), at_once):
                part = same[first : first + at_once]
                yield self._together(begin, part)
                begin += sum(part)

    def _pieces(self, begin: int, length: int) -> Iterator[Batch]:
        most = SCORES_AT_ONCE // (self.heads * length)
        size = max(FILLED_TO, min(QUERIES_AT_ONCE, most))
        for first in reversed(range(0, length, size)):
            last = min(first + size, length)
            queries, keys = slice(begin + first, begin + last), slice(begin, begin + last)
            yield Batch(1, queries, keys, adds=last < length)

    def _together(self, begin: int, lengths: Sequence[int]) -> Batch:
        tokens = slice(begin, begin + sum(lengths))
        if len(lengths) == 1:
            return Batch(1, tokens, tokens)
        length_R1 = torch.tensor(lengths)[:, None]
        place_T = torch.arange(max(lengths))
        # A row's last token stands in for those that it does not have.
        token_RT = length_R1.cumsum(0) - length_R1 + place_T.minimum(length_R1 - 1)
        real_RT = place_T < length_R1
        queries, keys = (self._filled(token_RT, real_RT, heads) for heads in (self.heads, self.key_heads))
        return Batch(len(lengths), tokens, tokens, (queries, keys), self._places(~real_RT, self.heads))

    def _filled(self, token_RT: torch.Tensor, real_RT: torch.Tensor, heads: int) -> _Filled:
        there_RHT = token_RT[:, None] * heads + torch.arange(heads)[:, None]
        return _Filled(there_RHT.flatten(), self._places(real_RT, heads))

    def _places(self, chosen_RT: torch.Tensor, heads: int) -> torch.Tensor:
        """Return the places of tokens, in all heads, in the order of the pack."""
        row_N, place_N = chosen_RT.nonzero(as_tuple=True)
        first_N1 = (row_N * heads * chosen_RT.shape[1] + place_N)[:, None]
        return (first_N1 + torch.arange(heads) * chosen_RT.shape[1]).flatten()


def attend(
    heads: Sequence[torch.Tensor], rows: Rows, scale: float, out_NHD: torch.Tensor, scratch: Scratch
) -> None:
    """Write causal attention within each row, given contiguous queries, keys and values."""
    for batch in rows.batches:
        with scratch.frame():
            query, key, value = _taken_heads(heads, rows, batch, scratch)
            shares = _shares(query, key, rows, scale, scratch)
            _give(torch.bmm(shares, value, out=query), out_NHD, batch, keys=False)


def attend_backward(
    grad_NHD: torch.Tensor,
    heads: Sequence[torch.Tensor],
    rows: Rows,
    scale: float,
    into: Sequence[torch.Tensor],
    scratch: Scratch,
) -> None:
    """Write the gradients of queries, keys and values, given the output's."""
    for batch in rows.batches:
        with scratch.frame():
            query, key, value = _taken_heads(heads, rows, batch, scratch)
            grad = _taken(grad_NHD, batch, scratch, keys=False)
            if batch.beyond is not None:
                grad.flatten(0, 1).index_fill_(0, batch.beyond, 0.0)
            grad = grad.view_as(query)
            shares = _shares(query, key, rows, scale, scratch)
            slopes = torch.bmm(grad, value.mT, out=scratch.take(*shares.shape))
            _give(torch.bmm(shares.mT, grad, out=value), into[2], batch, keys=True)
            torch.ops.aten._softmax_backward_data.out(slopes, shares, -1, slopes.dtype, grad_input=slopes)
            # At beta 0 what it is added to plays no part.
            key_grad = torch.baddbmm(
                value, slopes.mT, query, beta=0, alpha=scale, out=scratch.take(*key.shape)
            )
            _give(key_grad, into[1], batch, keys=True)
            _give(
                torch.baddbmm(query, slopes, key, beta=0, alpha=scale, out=query), into[0], batch, keys=False
            )


def _shares(
    query: torch.Tensor, key: torch.Tensor, rows: Rows, scale: float, scratch: Scratch
) -> torch.Tensor:
    """Return softmax(scale · q · k) (R · G, J · W, T), in memory of the caller's frame."""
    room = scratch.take(len(query), query.shape[1], key.shape[1])
    scores = torch.baddbmm(room, query, key.mT, beta=0, alpha=scale, out=room)
    return torch.softmax(rows.hide_later(scores), -1, out=scores)


def _taken_heads(
    heads: Sequence[torch.Tensor], rows: Rows, batch: Batch, scratch: Scratch
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return a batch's queries (R · G, J · W, D), keys and values (R · G, T, D), in memory as above."""
    query, key, value = (
        _taken(x, batch, scratch, keys=keys) for x, keys in zip(heads, (False, True, True), strict=True)
    )
    return query.view(len(key), -1, key.shape[2]), key, value


def _taken(x_NHD: torch.Tensor, batch: Batch, scratch: Scratch, *, keys: bool) -> torch.Tensor:
    """Return a batch's heads (R · H, W, D), in memory as above."""
    part = x_NHD[batch.keys if keys else batch.queries]
    tokens, heads, size = part.shape
    if batch.filled is None:
        return scratch.take(heads, tokens, size).copy_(part.transpose(0, 1))
    there = batch.filled[keys].there
    room = scratch.take(len(there), size)
    return torch.index_select(part.flatten(0, 1), 0, there, out=room).view(batch.rows * heads, -1, size)


def _give(found: torch.Tensor, into_NHD: torch.Tensor, batch: Batch, *, keys: bool) -> None:
    """Write what was found for a batch's queries or keys to their tokens, or add it to what is there."""
    part = into_NHD[batch.keys if keys else batch.queries]
    tokens, heads, size = part.shape
    if batch.filled is not None:
        back = batch.filled[keys].back
        torch.index_select(found.view(-1, size), 0, back, out=part.view(-1, size))
    elif keys and batch.adds:
        part.transpose(0, 1).add_(found)
    else:
        part.transpose(0, 1).copy_(found.view(heads, tokens, size))
