"""Attention over packed rows: one causal call per distinct row length, no padding, no mask.

Registered with transformers under `PACKED`. Rows of equal length lie side by side in the pack, so
that they can be viewed as one batch. Not covered: models that mix tokens outside of attention
(linear attention, convolutions over time); the masking proof refuses those.

Shapes: N tokens of a pack, H heads, G key-value heads, D head size, R rows of a group, T tokens
of each of its rows.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel

PACKED = "realm_packed"

Groups = tuple[tuple[int, int], ...]
"""Rows and tokens a row, for each run of equally long rows in a pack."""


def use_packed(model: PreTrainedModel) -> None:
    """Let the model attend within packed rows; every call then needs `groups`."""
    AttentionInterface.register(PACKED, packed_attention)
    AttentionMaskInterface.register(PACKED, _no_mask)
    model.set_attn_implementation(PACKED)


def packed_attention(
    module: torch.nn.Module,
    query_1HND: torch.Tensor,
    key_1GND: torch.Tensor,
    value_1GND: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    groups: Groups,
    scaling: float | None = None,
    dropout: float = 0.0,
    sliding_window: int | None = None,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """Attend causally within each row; return (1, N, H, D)."""
    sizes = [rows * tokens for rows, tokens in groups]
    queries, keys, values = (
        torch.split(x.squeeze(0), sizes, dim=1) for x in (query_1HND, key_1GND, value_1GND)
    )
    parts = []
    for (rows, tokens), *group in zip(groups, queries, keys, values, strict=True):
        query, key, value = (x.reshape(x.shape[0], rows, tokens, -1).transpose(0, 1) for x in group)
        windowed = sliding_window is not None and tokens > sliding_window
        out_RHTD = scaled_dot_product_attention(
            query,
            key,
            value,
            attn_mask=_window(tokens, sliding_window, query.device) if windowed else None,
            is_causal=not windowed,
            dropout_p=dropout,
            scale=scaling,
            enable_gqa=query.shape[1] != key.shape[1],
        )
        parts.append(out_RHTD.transpose(1, 2).flatten(0, 1))
    return torch.cat(parts).unsqueeze(0), None


def _window(tokens: int, width: int | None, device: torch.device) -> torch.Tensor:
    ones_TT = torch.ones(tokens, tokens, dtype=torch.bool, device=device)
    return ones_TT.tril().triu(1 - (width or tokens))


def _no_mask(*args: Any, **kwargs: Any) -> None:
    return None
