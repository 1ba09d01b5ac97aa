"""The last layer, computed only where something is predicted.

Behind the last layer only the places that predict a trained token are read. Its keys and values
are needed everywhere; its queries, output projection and MLP only at those places. Losses and
gradients stay the same, which the masking proof checks against the untrimmed model.

Not covered: layers of another build than Llama's and Qwen's; they stay untrimmed.
"""

from __future__ import annotations

import sys
from types import MethodType
from typing import Any

import torch
from transformers import PreTrainedModel

from realm.models.adapters import decoder
from realm.training.attention import Groups, packed_attention

_MODEL_TYPES = frozenset({"llama", "qwen2", "qwen3"})


def trim_last_layer(model: PreTrainedModel) -> bool:
    """Trim the last layer where its build is known; return whether it was."""
    if model.config.model_type not in _MODEL_TYPES:
        return False
    inner: Any = decoder(model)
    layer = inner.layers[-1]
    layer.forward = MethodType(_trimmed_forward, layer)
    return True


def _trimmed_forward(
    layer: Any,
    hidden_1NC: torch.Tensor,
    *,
    position_embeddings: tuple[torch.Tensor, torch.Tensor],
    groups: Groups,
    predict_at: torch.Tensor,
    **_: Any,
) -> torch.Tensor:
    """Return the layer's output at M of its N places: (1, M, C)."""
    attention, residual_1MC = layer.self_attn, hidden_1NC.index_select(1, predict_at)
    normed_1NC = layer.input_layernorm(hidden_1NC)
    out_1MX = _attend(attention, normed_1NC, position_embeddings, groups, predict_at)
    hidden_1MC = residual_1MC + attention.o_proj(out_1MX)
    out_1MC: torch.Tensor = hidden_1MC + layer.mlp(layer.post_attention_layernorm(hidden_1MC))
    return out_1MC


def _attend(
    attention: Any,
    normed_1NC: torch.Tensor,
    rotations: tuple[torch.Tensor, torch.Tensor],
    groups: Groups,
    predict_at: torch.Tensor,
) -> torch.Tensor:
    heads = (1, -1, attention.config.num_attention_heads, attention.head_dim)
    pairs = (1, -1, attention.config.num_key_value_heads, attention.head_dim)
    query_1MHD = attention.q_proj(normed_1NC.index_select(1, predict_at)).view(heads)
    key_1NGD = attention.k_proj(normed_1NC).view(pairs)
    value_1NGD = attention.v_proj(normed_1NC).view(pairs)
    if hasattr(attention, "q_norm"):
        query_1MHD, key_1NGD = attention.q_norm(query_1MHD), attention.k_norm(key_1NGD)
    # Unused places get a query of zeros: attention over them is cheap, projecting them is not.
    query_1NHD = query_1MHD.new_zeros(1, normed_1NC.shape[1], *heads[2:])
    query_1NHD = query_1NHD.index_copy(1, predict_at, query_1MHD)
    rotate = sys.modules[type(attention).__module__].apply_rotary_pos_emb
    query, key = rotate(query_1NHD.transpose(1, 2), key_1NGD.transpose(1, 2), *rotations)
    out_1NHD, _ = packed_attention(
        attention,
        query,
        key,
        value_1NGD.transpose(1, 2),
        None,
        groups=groups,
        scaling=attention.scaling,
        dropout=attention.attention_dropout if attention.training else 0.0,
        sliding_window=getattr(attention, "sliding_window", None),
    )
    return out_1NHD.index_select(1, predict_at).flatten(2)
