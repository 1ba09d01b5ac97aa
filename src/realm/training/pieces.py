"""What is read off the logits of many tokens, in bounded memory.

Shapes: M trained tokens of a pack, X of them at a time, C hidden size, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from peft import PeftModel
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel

from realm.models.adapters import head, text_config

LOGITS_AT_ONCE = 1 << 25
"""Logits held at a time (128 MiB in fp32); more are computed in pieces, again in the backward pass."""


def read_logits(
    model: PreTrainedModel | PeftModel,
    read: Callable[..., torch.Tensor],
    hidden_MC: torch.Tensor,
    *others: torch.Tensor,
) -> torch.Tensor:
    """Return `read(logits_XV, *others)` of all tokens, joined along the first dimension.

    Logits are fp32. `read` treats every token alone; `others` are cut like the tokens.
    """

    def piece(hidden_XC: torch.Tensor, *parts: torch.Tensor) -> torch.Tensor:
        return read(head(model)(hidden_XC).float(), *parts)

    tokens = max(1, LOGITS_AT_ONCE // text_config(model).vocab_size)
    if len(hidden_MC) <= tokens:
        return piece(hidden_MC, *others)
    pieces = zip(*(torch.split(tensor, tokens) for tensor in (hidden_MC, *others)), strict=True)
    return torch.cat([checkpoint(piece, *parts, use_reentrant=False) for parts in pieces])
