"""Tiny tokenizers and models, made on the spot."""

from __future__ import annotations

from functools import cache

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from realm.models.blank import BLANKS, SpecialIds
from realm.models.tokenizer import train_tokenizer

torch.set_num_threads(1)

DIGITS = ("⓪", "①")
TEXTS = ["Compute: add(⓪①, ①) = ①⓪", "You are a small model.", "the quick brown fox"] * 5
SHAPE = {
    "kind": "qwen3",
    "hidden_size": 32,
    "layers": 2,
    "heads": 4,
    "kv_heads": 2,
    "head_dim": 8,
    "intermediate_size": 48,
    "context_tokens": 128,
    "initializer_range": 0.2,
}


@cache
def tokenizer() -> PreTrainedTokenizerFast:
    return train_tokenizer(TEXTS, 320, [*DIGITS, *"0123456789"])


def model(seed: int = 0) -> PreTrainedModel:
    made = tokenizer()
    special = SpecialIds(end=made.eos_token_id, pad=made.pad_token_id)
    return BLANKS.build(SHAPE).build(len(made), special, seed)
