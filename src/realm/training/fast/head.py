"""The output head, scored a tile of rows at a time: only one tile's logits ever exist.

The cross-entropy's gradients are computed beside its value, in three products a tile (logits, hidden
states, weight), and scaled when the backward pass says by how much. Log-probabilities are weighted
by whoever uses them, so their backward pass computes each tile's logits again.

Not covered: gradients of gradients; heads with a bias, half precision and GPUs (`fits` says no).

Shapes: M trained tokens, P of one tile, C hidden size, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from torch.autograd.function import once_differentiable

from realm.core.errors import StateError
from realm.training.fast.watched import watched

LOGITS_AT_ONCE = 3 << 23
"""Logits of one tile (96 MiB in fp32). Fewer rows a tile make slower products."""


def fits(head: Any, hidden_MC: torch.Tensor) -> bool:
    """Tell whether these hidden states can be scored here."""
    return (
        type(head) is nn.Linear
        and type(head.weight) is nn.Parameter
        and head.bias is None
        and head.weight.device.type == "cpu"
        and head.weight.dtype in (torch.float32, torch.float64)
        and head.weight.dtype == hidden_MC.dtype
        and not watched(head)
        and not torch.is_autocast_enabled("cpu")
    )


def cross_entropy_sum(
    hidden_MC: torch.Tensor, weight_VC: torch.Tensor, targets_M: torch.Tensor, weights_M: torch.Tensor
) -> torch.Tensor:
    """Return the weighted sum of cross-entropies in nats."""
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
        gradients = _Gradients(ctx.needs_input_grad[:2], hidden_MC, weight_VC)
        losses_M = hidden_MC.new_empty(len(hidden_MC))
        for rows, logits_PV in _tiles(hidden_MC, weight_VC):
            losses_M[rows] = -_log_probs(logits_PV, targets_M[rows])
            gradients.add(rows, logits_PV, targets_M[rows], weights_M[rows])
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
        logp_M = hidden_MC.new_empty(len(hidden_MC))
        for rows, logits_PV in _tiles(hidden_MC, weight_VC):
            logp_M[rows] = _log_probs(logits_PV, targets_M[rows])
        return logp_M

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_M: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        hidden_MC, weight_VC, targets_M = ctx.saved_tensors
        gradients = _Gradients(ctx.needs_input_grad[:2], hidden_MC, weight_VC)
        for rows, logits_PV in _tiles(hidden_MC, weight_VC):
            torch.softmax(logits_PV, dim=-1, out=logits_PV)
            gradients.add(rows, logits_PV, targets_M[rows], -grad_M[rows])
        return (*gradients.found, None)


class _Gradients:
    """Gradients of Σ w · cross-entropy by hidden states and weight, those that are needed."""

    def __init__(self, needed: tuple[bool, ...], hidden_MC: torch.Tensor, weight_VC: torch.Tensor) -> None:
        self._hidden_MC, self._weight_VC = hidden_MC, weight_VC
        self._into_hidden = torch.empty_like(hidden_MC) if needed[0] else None
        self._into_weight = torch.empty_like(weight_VC) if needed[1] else None
        self._begun = False

    @property
    def found(self) -> list[torch.Tensor | None]:
        """Return both gradients."""
        if self._into_weight is not None and not self._begun:
            self._into_weight.zero_()
        return [self._into_hidden, self._into_weight]

    def add(
        self, rows: slice, shares_PV: torch.Tensor, targets_P: torch.Tensor, weights_P: torch.Tensor
    ) -> None:
        """Add a tile, given its softmax, which is overwritten."""
        if self._into_hidden is None and self._into_weight is None:
            return
        shares_PV.scatter_add_(1, targets_P[:, None], shares_PV.new_full((len(targets_P), 1), -1.0))
        if self._into_hidden is not None:
            torch.mm(shares_PV, self._weight_VC, out=self._into_hidden[rows]).mul_(weights_P[:, None])
        if self._into_weight is not None:
            weighted_PC = self._hidden_MC[rows] * weights_P[:, None]
            self._into_weight.addmm_(shares_PV.t(), weighted_PC, beta=int(self._begun))
            self._begun = True


def _tiles(hidden_MC: torch.Tensor, weight_VC: torch.Tensor) -> Iterator[tuple[slice, torch.Tensor]]:
    """Yield equal tiles of rows, each with its logits in the same memory as the one before."""
    count, vocabulary = len(hidden_MC), len(weight_VC)
    most = max(1, LOGITS_AT_ONCE // vocabulary)
    size = -(-count // max(1, -(-count // most)))
    logits = hidden_MC.new_empty(size, vocabulary)
    for begin in range(0, count, max(1, size)):
        rows = slice(begin, min(begin + size, count))
        tile_PC = hidden_MC[rows]
        yield rows, torch.mm(tile_PC, weight_VC.t(), out=logits[: len(tile_PC)])


def _log_probs(logits_PV: torch.Tensor, targets_P: torch.Tensor) -> torch.Tensor:
    """Return the targets' log-probabilities and turn the logits into their softmax, in place."""
    target_P = logits_PV.gather(1, targets_P[:, None]).squeeze(1)
    largest_P = logits_PV.amax(dim=-1)
    torch.softmax(logits_PV, dim=-1, out=logits_PV)
    # The largest share is at least 1/V: its logarithm is safe where another one's may not be.
    return target_P - largest_P + logits_PV.amax(dim=-1).log()
