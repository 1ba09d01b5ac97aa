"""The output head, scored a tile of rows at a time: only one tile's logits ever exist.

The cross-entropy's gradients are computed beside its value, in three products a tile (logits, hidden
states, weight), and scaled when the backward pass says by how much. Log-probabilities are weighted
by whoever uses them, so their backward pass computes each tile's logits again. Under autocast both
sides of a product and its result are rounded (`products`); softmax and losses are not.

Not covered: gradients of gradients; heads with a bias, weights in half precision and GPUs (`fits` says no).

Shapes: M trained tokens, P of one tile, C hidden size, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from torch.autograd.function import once_differentiable

from realm.core.errors import StateError
from realm.training.fast.products import (
    PIECES,
    add_over_rows,
    asked_for,
    exactly,
    filled,
    kept_in,
    multiply,
    supported,
)
from realm.training.fast.watched import watched

LOGITS_AT_ONCE = 3 << 23
"""Logits of one tile (96 MiB in fp32, half of it in bf16). Fewer rows make slower products."""
ROWS_AT_ONCE = 1024
"""Rows of one tile; more of them make no faster products."""
_SOFTMAX_AT_ONCE = 1 << 20
"""Rounded logits whose softmax is computed at a time (4 MiB in fp32: what stays in a cache)."""
_WEIGHTS_AT_ONCE = 1 << 21
"""Rounded numbers that are added to the weight's gradient at a time (4 MiB)."""


def fits(head: Any, hidden_MC: torch.Tensor) -> bool:
    """Tell whether these hidden states can be scored here."""
    return (
        type(head) is nn.Linear
        and type(head.weight) is nn.Parameter
        and head.bias is None
        and head.weight.device.type == "cpu"
        and hidden_MC.dtype in (torch.float32, torch.float64)
        and hidden_MC.dtype is kept_in(head.weight.dtype)
        and not (head.weight.requires_grad and head.weight.dtype is torch.bfloat16)
        and not watched(head)
        and supported()
    )


def cross_entropy_sum(
    hidden_MC: torch.Tensor, weight_VC: torch.Tensor, targets_M: torch.Tensor, weights_M: torch.Tensor
) -> torch.Tensor:
    """Return the weighted sum of cross-entropies in nats."""
    if not torch.is_grad_enabled():  # which the function below is not told
        hidden_MC, weight_VC = hidden_MC.detach(), weight_VC.detach()
    loss: torch.Tensor = _CrossEntropySum.apply(  # type: ignore[no-untyped-call]
        hidden_MC, weight_VC, targets_M, weights_M
    )
    return loss


def token_log_probs(
    hidden_MC: torch.Tensor, weight_VC: torch.Tensor, targets_M: torch.Tensor
) -> torch.Tensor:
    """Return the log-probability of each target in nats, (M)."""
    logp_M: torch.Tensor = _TokenLogProbs.apply(  # type: ignore[no-untyped-call]
        hidden_MC, weight_VC, targets_M
    )
    return logp_M


class _CrossEntropySum(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden_MC: torch.Tensor,
        weight_VC: torch.Tensor,
        targets_M: torch.Tensor,
        weights_M: torch.Tensor,
    ) -> torch.Tensor:
        sides = _Sides(hidden_MC, weight_VC, asked_for(hidden_MC.dtype))
        with exactly():
            gradients = _Gradients(ctx.needs_input_grad[:2], sides)
            losses_M = hidden_MC.new_empty(len(hidden_MC))
            for rows, logits_PV in sides.tiles():
                losses_M[rows] = -_log_probs(logits_PV, targets_M[rows], hidden_MC.dtype)
                gradients.add(rows, logits_PV, weights_M[rows])
            ctx.gradients = gradients.found
            return losses_M @ weights_M.to(losses_M.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        found, ctx.gradients = ctx.gradients, None
        if found is None:
            raise StateError("this cross-entropy can go backward once", hint="add the losses up first")
        # A pass over a large vocabulary's gradient is worth sparing.
        scaled = found if grad == 1 else [None if each is None else each.mul_(grad) for each in found]
        return (*scaled, None, None)


class _TokenLogProbs(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, hidden_MC: torch.Tensor, weight_VC: torch.Tensor, targets_M: torch.Tensor
    ) -> torch.Tensor:
        ctx.save_for_backward(hidden_MC, weight_VC, targets_M)
        ctx.multiplied_in = asked_for(hidden_MC.dtype)
        sides = _Sides(hidden_MC, weight_VC, ctx.multiplied_in)
        logp_M = hidden_MC.new_empty(len(hidden_MC))
        with exactly():
            for rows, logits_PV in sides.tiles():
                logp_M[rows] = _log_probs(logits_PV, targets_M[rows], hidden_MC.dtype)
        return logp_M

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_M: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        hidden_MC, weight_VC, targets_M = ctx.saved_tensors
        sides = _Sides(hidden_MC, weight_VC, ctx.multiplied_in)
        with exactly():
            gradients = _Gradients(ctx.needs_input_grad[:2], sides)
            for rows, logits_PV in sides.tiles():
                _log_probs(logits_PV, targets_M[rows], hidden_MC.dtype)
                gradients.add(rows, logits_PV, -grad_M[rows])
        return (*gradients.found, None)


class _Sides:
    """Hidden states and weight as they are multiplied."""

    def __init__(self, hidden_MC: torch.Tensor, weight_VC: torch.Tensor, multiplied_in: torch.dtype) -> None:
        self.kept_hidden_MC = hidden_MC
        self.hidden_MC, self.weight_VC = hidden_MC.to(multiplied_in), weight_VC.to(multiplied_in)
        if self.rounded:  # filled up here: later it would be done to logits
            self.hidden_MC = filled(self.hidden_MC)

    @property
    def rounded(self) -> bool:
        """Tell whether what is multiplied is shorter than what is kept."""
        return self.hidden_MC.dtype is not self.kept_hidden_MC.dtype

    def tiles(self) -> Iterator[tuple[slice, torch.Tensor]]:
        """Yield tiles of rows, each with its logits in the same memory as the one before.

        Rounded logits fill whole pieces: what stands behind the tile's rows has no meaning.
        """
        count, vocabulary = len(self.kept_hidden_MC), len(self.weight_VC)
        size = self._tile_rows(count, max(1, min(ROWS_AT_ONCE, LOGITS_AT_ONCE // vocabulary)))
        logits = self.hidden_MC.new_empty(size, vocabulary)
        for begin in range(0, count, max(1, size)):
            rows = slice(begin, min(begin + size, count))
            tile_PC = self.hidden_MC[begin : begin + size]
            into_PV = logits[: len(tile_PC)]
            yield rows, multiply(tile_PC, self.weight_VC.t(), into_PV)

    def _tile_rows(self, count: int, most: int) -> int:
        if not self.rounded:
            return -(-count // max(1, -(-count // most)))  # equal ones
        # One piece a tile reads the weight once.
        whole = next((size for size in PIECES if size <= most), PIECES[-1])
        return min(len(self.hidden_MC), whole)


class _Gradients:
    """Gradients of Σ w · cross-entropy by hidden states and weight, those that are needed."""

    def __init__(self, needed: tuple[bool, ...], sides: _Sides) -> None:
        self._sides = sides
        kept_in = sides.kept_hidden_MC.dtype
        self._into_hidden = torch.empty_like(sides.kept_hidden_MC) if needed[0] else None
        self._into_weight = torch.empty_like(sides.weight_VC, dtype=kept_in) if needed[1] else None
        self._begun = False

    @property
    def found(self) -> list[torch.Tensor | None]:
        """Return both gradients."""
        if self._into_weight is not None and not self._begun:
            self._into_weight.zero_()
        return [self._into_hidden, self._into_weight]

    def add(self, rows: slice, slopes_PV: torch.Tensor, weights_P: torch.Tensor) -> None:
        """Add a tile, given the cross-entropy's gradient by its logits."""
        sides, count = self._sides, len(weights_P)
        slopes_PV[count:].zero_()
        if self._into_hidden is not None:
            found_PC = sides.hidden_MC.new_empty(len(slopes_PV), sides.weight_VC.shape[1])
            multiply(slopes_PV, sides.weight_VC, found_PC)
            torch.mul(found_PC[:count], weights_P[:, None], out=self._into_hidden[rows])
        if self._into_weight is not None:
            weighted_PC = sides.kept_hidden_MC[rows] * weights_P[:, None]
            if sides.rounded:
                self._add_in_pieces(self._into_weight, slopes_PV, filled(weighted_PC.to(slopes_PV.dtype)))
            else:
                self._into_weight.addmm_(slopes_PV.t(), weighted_PC, beta=int(self._begun))
            self._begun = True

    def _add_in_pieces(
        self, into_VC: torch.Tensor, slopes_PV: torch.Tensor, weighted_PC: torch.Tensor
    ) -> None:
        most = max(1, _WEIGHTS_AT_ONCE // into_VC.shape[1])
        room = weighted_PC.new_empty(min(most, len(into_VC)), into_VC.shape[1])
        for slopes_PX, into_XC in zip(
            torch.split(slopes_PV, most, 1), torch.split(into_VC, most), strict=True
        ):
            add_over_rows(slopes_PX, weighted_PC, into_XC, room[: len(into_XC)], add=self._begun)


def _log_probs(logits_PV: torch.Tensor, targets_P: torch.Tensor, kept_in: torch.dtype) -> torch.Tensor:
    """Return the targets' log-probabilities; turn the logits into the cross-entropies' gradients by them."""
    logits_PV = logits_PV[: len(targets_P)]
    if logits_PV.dtype is kept_in:
        return _log_probs_exactly(logits_PV, targets_P)
    # The shares are rounded with 1 taken off the target's: beside 1 a small rest would be lost.
    at_once = max(1, _SOFTMAX_AT_ONCE // logits_PV.shape[1])
    parts = []
    for rounded_XV, targets_X in zip(
        torch.split(logits_PV, at_once), torch.split(targets_P, at_once), strict=True
    ):
        exact_XV = rounded_XV.to(kept_in)
        parts.append(_log_probs_exactly(exact_XV, targets_X))
        rounded_XV.copy_(exact_XV)
    return torch.cat(parts)


def _log_probs_exactly(logits_PV: torch.Tensor, targets_P: torch.Tensor) -> torch.Tensor:
    target_P = logits_PV.gather(1, targets_P[:, None]).squeeze(1)
    largest_P = logits_PV.amax(dim=-1)
    torch.softmax(logits_PV, dim=-1, out=logits_PV)
    # The largest share is at least 1/V: its logarithm is safe where another one's may not be.
    log_probs_P = target_P - largest_P + logits_PV.amax(dim=-1).log()
    logits_PV.scatter_add_(1, targets_P[:, None], logits_PV.new_full((len(targets_P), 1), -1.0))
    return log_probs_P
