"""From a pack to losses: hidden states where something is predicted, and what the head makes of them.

Decoder and head each have a plain way (transformers' modules) and a fast one (`fast`), with the same
results; whichever applies is taken for each on its own.

Shapes: N input tokens, M trained tokens, X of them at a time, C hidden size, V vocabulary.
"""

from __future__ import annotations

from typing import Any

import torch
from peft import PeftModel
from torch.nn.functional import cross_entropy
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel

from realm.models.adapters import decoder, head, text_config
from realm.training.batching import Batch
from realm.training.fast import head as fast_head
from realm.training.pieces import LOGITS_AT_ONCE, read_logits
from realm.training.unpacked import is_apart, predictions_apart


def predictions(model: PreTrainedModel | PeftModel, batch: Batch) -> torch.Tensor:
    """Return the last hidden states (M, C) at the places where a trained token is predicted."""
    if is_apart(model):
        return predictions_apart(model, batch)
    inner: Any = decoder(model)
    output = inner(
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
    model: PreTrainedModel | PeftModel,
    hidden_MC: torch.Tensor,
    targets_M: torch.Tensor,
    weights_M: torch.Tensor,
) -> torch.Tensor:
    """Return the weighted sum of cross-entropies in nats; memory stays bounded at any vocabulary."""
    output: Any = head(model)
    if fast_head.fits(output, hidden_MC):
        return fast_head.cross_entropy_sum(hidden_MC, output.weight, targets_M, weights_M)
    rows = max(1, LOGITS_AT_ONCE // text_config(model).vocab_size)
    if len(targets_M) <= rows:
        return _piece(output, hidden_MC, targets_M, weights_M)
    parts = (torch.split(x, rows) for x in (hidden_MC, targets_M, weights_M))
    pieces = [checkpoint(_piece, output, *part, use_reentrant=False) for part in zip(*parts, strict=True)]
    return torch.stack(pieces).sum()


def token_log_probs(model: PreTrainedModel | PeftModel, batch: Batch) -> torch.Tensor:
    """Return log p of each trained token (M,), in nats, with gradients, in bounded memory."""
    output: Any = head(model)
    hidden_MC = predictions(model, batch)
    if fast_head.fits(output, hidden_MC):
        return fast_head.token_log_probs(hidden_MC, output.weight, batch.targets_M)
    return read_logits(model, _log_probs, hidden_MC, batch.targets_M)


def row_losses(model: PreTrainedModel | PeftModel, batch: Batch, rows: int) -> torch.Tensor:
    """Return each row's summed cross-entropy, in the order the rows were given, without gradients."""
    with torch.no_grad():
        losses_M = -token_log_probs(model, batch)
        return losses_M.new_zeros(rows).index_add_(0, batch.row_of_M, losses_M)


def _piece(
    output: torch.nn.Module, hidden_MC: torch.Tensor, targets_M: torch.Tensor, weights_M: torch.Tensor
) -> torch.Tensor:
    losses_M = cross_entropy(output(hidden_MC).float(), targets_M, reduction="none")
    return (losses_M * weights_M).sum()  # a product of vectors would be rounded to bf16 by autocast


def _log_probs(logits_XV: torch.Tensor, targets_X: torch.Tensor) -> torch.Tensor:
    return -cross_entropy(logits_XV, targets_X, reduction="none")
