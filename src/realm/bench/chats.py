"""The fixed chat sets that every contender trains on, and the tokenizer made for them.

Words are drawn from a made-up lexicon whose words are one token each, so that lengths come out
exactly, and 48 % of the tokens are trained. Short chats have in tokens p50 66, p95 161, at most 372;
their lengths are drawn stratum by stratum in blocks of 32 chats, so that any whole number of blocks
has nearly the same distribution. Long chats are all of one length, in 8 to 32 exchanges.
"""

from __future__ import annotations

import itertools
import math
from functools import cache
from random import Random
from typing import TYPE_CHECKING

from realm.core.records import Example, Message
from realm.core.seeds import rng
from realm.models.tokenizer import train_tokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

CHATS = 256
BLOCK = 32
TRAINED_SHARE = 0.48
LONGEST = 372
VOCABULARY = 4096
"""Tokens that the tokenizer may have at most."""

_QUANTILES = ((0.0, 18.0), (0.5, 66.0), (0.95, 161.0), (1.0, float(LONGEST)))
"""Length in tokens at some shares of the chats; logarithms are interpolated between them."""
_LEXICON_WORDS = 1024
_TURN_TOKENS = 2
"""The marks that open and close a turn."""
_SEVERAL = 60
"""From so many tokens on a short chat may have several exchanges."""
_EXCHANGES = (8, 12, 16, 24, 32)
"""Of long chats."""


@cache
def tokenizer() -> PreTrainedTokenizerFast:
    """Train the tokenizer of the chats; every word of the lexicon is one token of it."""
    return train_tokenizer([f" {word}" for word in _lexicon() for _ in range(2)], VOCABULARY)


def chats(count: int = CHATS) -> list[Example]:
    """Return the first `count` chats, a multiple of 32; equal counts give equal chats."""
    lengths = [length for block in range(count // BLOCK) for length in _block_lengths(block)]
    draw = rng("bench/chats")
    return [_chat(length, draw.choice((1, 2, 3)) if length >= _SEVERAL else 1, draw) for length in lengths]


def long_chats(count: int, tokens: int) -> list[Example]:
    """Return `count` chats of exactly so many tokens each; a chat does not depend on how many there are."""
    draws = [rng("bench/long", tokens, number) for number in range(count)]
    return [_chat(tokens, draw.choice(_EXCHANGES), draw) for draw in draws]


def _block_lengths(block: int) -> list[int]:
    """Draw one length from each of 32 equal strata; the first block has the longest of all."""
    draw = rng("bench/lengths", block)
    lengths = [_quantile((stratum + draw.random()) / BLOCK) for stratum in range(BLOCK)]
    if block == 0:
        lengths[-1] = LONGEST
    draw.shuffle(lengths)
    return lengths


def _quantile(share: float) -> int:
    """Return the length that this share of the chats does not exceed."""
    (low, short), (high, long) = next(
        (left, right) for left, right in itertools.pairwise(_QUANTILES) if share <= right[0]
    )
    place = (share - low) / (high - low)
    return round(math.exp(math.log(short) + place * (math.log(long) - math.log(short))))


def _chat(length: int, exchanges: int, draw: Random) -> Example:
    """Write a chat of exactly `length` tokens, of which 48 % are the assistant's, give or take one."""
    answered = round(length * TRAINED_SHARE) - exchanges
    asked = length - 2 * _TURN_TOKENS * exchanges - answered
    turns: list[Message] = []
    for user_words, assistant_words in zip(
        _shares(asked, exchanges), _shares(answered, exchanges), strict=True
    ):
        turns.append(Message(role="user", content=_words(user_words, draw)))
        turns.append(Message(role="assistant", content=_words(assistant_words, draw)))
    return Example(messages=tuple(turns))


def _shares(total: int, parts: int) -> list[int]:
    return [total // parts + (part < total % parts) for part in range(parts)]


def _words(count: int, draw: Random) -> str:
    # A leading space makes the first word the same token as everywhere else.
    return "".join(f" {word}" for word in draw.choices(_lexicon(), k=count))


@cache
def _lexicon() -> list[str]:
    """Return made-up words of two or three syllables, all different."""
    syllables = [c + v for c in "bdfgklmnprstvz" for v in "aeiou"]
    draw = rng("bench/lexicon")
    words: dict[str, None] = {}
    while len(words) < _LEXICON_WORDS:
        words["".join(draw.choices(syllables, k=draw.choice((2, 3))))] = None
    return list(words)
