"""From a pack to losses: hidden states where something is predicted, and their cross-entropy.

Shapes: N input tokens, M trained tokens, C hidden size, V vocabulary.
"""

from __future__ import annotations

import torch
from torch.nn.functional import cross_entropy
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel

from realm.training.batching import Batch

_LOGITS_AT_ONCE = 1 << 25
"""Logits held at a time (128 MiB in fp32); more are computed in pieces, again in the backward pass."""


def predictions(model: PreTrainedModel, batch: Batch) -> torch.Tensor:
    """Return the last hidden states (M, C) at the places where a trained token is predicted."""
    output = model.base_model(
        input_ids=batch.inputs_N[None],
        position_ids=batch.positions_N[None],
        use_cache=False,
        groups=batch.groups,
        predict_at=batch.predict_at_M,
    )
    hidden_XC: torch.Tensor = output.last_hidden_state.squeeze(0)
    # A trimmed last layer has already left the other places out.
    return (
        hidden_XC
        if len(hidden_XC) == len(batch.predict_at_M)
        else hidden_XC.index_select(0, batch.predict_at_M)
    )


def cross_entropy_sum(
    model: PreTrainedModel, hidden_MC: torch.Tensor, targets_M: torch.Tensor, weights_M: torch.Tensor
) -> torch.Tensor:
    """Return the weighted sum of cross-entropies in nats; memory stays bounded at any vocabulary."""
    head = model.get_output_embeddings()
    rows = max(1, _LOGITS_AT_ONCE // model.config.vocab_size)
    if len(targets_M) <= rows:
        return _piece(head, hidden_MC, targets_M, weights_M)
    parts = (torch.split(x, rows) for x in (hidden_MC, targets_M, weights_M))
    pieces = [checkpoint(_piece, head, *part, use_reentrant=False) for part in zip(*parts, strict=True)]
    return torch.stack(pieces).sum()


def row_losses(model: PreTrainedModel, batch: Batch, rows: int) -> torch.Tensor:
    """Return each row's summed cross-entropy, in the order the rows were given, without gradients."""
    with torch.no_grad():
        logits_MV = model.get_output_embeddings()(predictions(model, batch)).float()
        losses_M = cross_entropy(logits_MV, batch.targets_M, reduction="none")
        return losses_M.new_zeros(rows).index_add_(0, batch.row_of_M, losses_M)


def _piece(
    head: torch.nn.Module, hidden_MC: torch.Tensor, targets_M: torch.Tensor, weights_M: torch.Tensor
) -> torch.Tensor:
    return cross_entropy(head(hidden_MC).float(), targets_M, reduction="none") @ weights_M
