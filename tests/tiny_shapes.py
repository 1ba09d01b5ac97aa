"""Tiny models of every shape, with random weights, and a tokenizer for them."""

from __future__ import annotations

from functools import cache

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from realm.models.blank import BLANKS, SpecialIds
from realm.models.tokenizer import train_tokenizer

torch.set_num_threads(1)

_DENSE = {
    "hidden_size": 32,
    "layers": 2,
    "heads": 4,
    "kv_heads": 2,
    "head_dim": 8,
    "context_tokens": 128,
    "initializer_range": 0.2,
}
_EXPERTS = {**_DENSE, "experts": 4, "expert_size": 16}
SHAPES = {
    "llama": {**_DENSE, "kind": "llama", "intermediate_size": 48},
    "qwen3": {**_DENSE, "kind": "qwen3", "intermediate_size": 48},
    "qwen3_moe": {**_EXPERTS, "kind": "qwen3_moe"},
    "qwen3_next": {**_EXPERTS, "kind": "qwen3_next", "full_attention_every": 2, "linear_head_dim": 8},
    "qwen3_vl": {**_DENSE, "kind": "qwen3_vl", "intermediate_size": 48, "vision_hidden_size": 16},
}


@cache
def tokenizer() -> PreTrainedTokenizerFast:
    return train_tokenizer(["the quick brown fox jumps over the lazy dog"] * 5, 300)


def model(shape: str, seed: int = 0) -> PreTrainedModel:
    special = SpecialIds(end=tokenizer().eos_token_id, pad=tokenizer().pad_token_id)
    return BLANKS.build(SHAPES[shape]).build(len(tokenizer()), special, seed)


def tokens(seed: int = 0, rows: int = 2, length: int = 12) -> torch.Tensor:
    source = torch.Generator().manual_seed(seed)
    return torch.randint(0, len(tokenizer()), (rows, length), generator=source)


def loss(made: torch.nn.Module, tokens_BT: torch.Tensor) -> torch.Tensor:
    logits_BTV = made(input_ids=tokens_BT[:, :-1], use_cache=False).logits
    return torch.nn.functional.cross_entropy(logits_BTV.flatten(0, 1), tokens_BT[:, 1:].flatten())
