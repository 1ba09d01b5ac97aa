"""Byte-level BPE tokenizers for blank models, and the chat template they carry.

Nothing is ever unknown: all 256 bytes are tokens and no normaliser changes the text. Text is cut
as Qwen2 does it, where every number character (circled digits too) stands alone. Characters of
`alphabet` stand alone as well and are one token each, however rare they are in the texts.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from realm.core.errors import ConfigError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

END = "<|end|>"
PAD = "<|pad|>"
TURNS = ("<|system|>", "<|user|>", "<|assistant|>", "<|tool|>")
SPECIAL = (*TURNS, END, PAD)

CHAT_TEMPLATE = (
    "{%- for message in messages -%}"
    "{{- '<|' + message['role'] + '|>' -}}"
    "{%- if message['role'] == 'assistant' -%}"
    "{%- generation -%}{{- message['content'] + '<|end|>' -}}{%- endgeneration -%}"
    "{%- else -%}"
    "{{- message['content'] + '<|end|>' -}}"
    "{%- endif -%}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|assistant|>' -}}{%- endif -%}"
)

_QWEN2_PIECES = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def train_tokenizer(
    texts: Iterable[str], vocab_size: int, alphabet: Sequence[str] = ()
) -> PreTrainedTokenizerFast:
    """Train a byte-level BPE tokenizer; equal arguments give an equal tokenizer.

    The result has at most `vocab_size` tokens, fewer where the texts give no more merges.
    """
    from tokenizers import Regex, Tokenizer, decoders, pre_tokenizers
    from tokenizers.models import BPE
    from transformers import PreTrainedTokenizerFast

    byte_tokens = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = [*SPECIAL, *byte_tokens]
    merges = _alphabet_merges(alphabet)
    if len(tokens) + len(merges) > vocab_size:
        raise ConfigError(
            f"vocab_size {vocab_size} is too small",
            hint=f"this alphabet, the bytes and the turn tokens take {len(tokens) + len(merges)}",
        )
    cutter = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_pieces(alphabet)), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    merges = _extend(merges, _learnt_merges(texts, cutter, vocab_size), vocab_size - len(tokens))
    tokens += [left + right for left, right in merges]
    core = Tokenizer(BPE(vocab={token: i for i, token in enumerate(tokens)}, merges=merges))
    core.pre_tokenizer = cutter
    core.decoder = decoders.ByteLevel()
    core.add_special_tokens(list(SPECIAL))
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core,
        eos_token=END,
        pad_token=PAD,
        extra_special_tokens=list(TURNS),
        clean_up_tokenization_spaces=False,
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


def _pieces(alphabet: Sequence[str]) -> str:
    """The cutting rule, with the alphabet's non-number characters standing alone as well."""
    alone = sorted({c for c in alphabet if not unicodedata.category(c).startswith("N")})
    return "|".join([*(re.escape(c) for c in alone), _QWEN2_PIECES])


def _alphabet_merges(alphabet: Sequence[str]) -> list[tuple[str, str]]:
    """The merges that make each character one token, before any learnt one."""
    merges: dict[tuple[str, str], None] = {}
    for character in alphabet:
        if len(character) != 1:
            raise ConfigError(f"alphabet: {character!r} is not a single character")
        units = _byte_units(character)
        for end in range(1, len(units)):
            merges[(units[:end], units[end])] = None
    return list(merges)


def _byte_units(text: str) -> str:
    """Write the text's UTF-8 bytes in the alphabet of byte-level BPE, one character a byte."""
    from tokenizers import pre_tokenizers

    cut = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    return "".join(piece for piece, _ in cut.pre_tokenize_str(text))


def _learnt_merges(texts: Iterable[str], cutter: Any, vocab_size: int) -> list[tuple[str, str]]:
    from tokenizers import Tokenizer, pre_tokenizers, trainers
    from tokenizers.models import BPE

    learner = Tokenizer(BPE())
    learner.pre_tokenizer = cutter
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    learner.train_from_iterator(texts, trainer=trainer)
    learnt = json.loads(learner.to_str())["model"]["merges"]
    return [tuple(m) if isinstance(m, list) else tuple(m.split(" ")) for m in learnt]


def _extend(first: list[tuple[str, str]], learnt: list[tuple[str, str]], room: int) -> list[tuple[str, str]]:
    """Append learnt merges that make a new token, as long as there is room."""
    merges = list(first)
    known = {left + right for left, right in merges}
    for left, right in learnt:
        if len(merges) == room:
            break
        if left + right not in known:
            known.add(left + right)
            merges.append((left, right))
    return merges
