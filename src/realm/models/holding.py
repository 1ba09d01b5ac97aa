"""Logit processors that profiles are made of: tokens held back while a model answers.

Shapes: B prompts of a batch, T tokens so far, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerFast

_TAIL_TOKENS = 64


class HoldBack:
    """Lower the logits of all tokens that would complete one of the given texts, however it is cut."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast, texts: Iterable[str], penalty: float) -> None:
        """Take the penalty in nats."""
        self._tokenizer = tokenizer
        self._penalty = penalty
        self._always: set[int] = set()
        """Tokens that hold a whole text."""
        self._behind: dict[str, set[int]] = {}
        """By the beginning of a text: tokens that begin with the rest of it."""
        for text in texts:
            for token, piece in _pieces(tokenizer, text[-1]):
                if text in piece:
                    self._always.add(token)
                for cut in range(1, len(text)):
                    if piece.startswith(text[cut:]):
                        self._behind.setdefault(text[:cut], set()).add(token)

    def __call__(self, ids_BT: torch.Tensor, logits_BV: torch.Tensor) -> torch.Tensor:
        logits_BV = logits_BV.clone()
        for b, ids in enumerate(ids_BT[:, -_TAIL_TOKENS:].tolist()):
            written = self._tokenizer.decode(ids)
            completing = [tokens for begun, tokens in self._behind.items() if written.endswith(begun)]
            logits_BV[b, sorted(self._always.union(*completing))] -= self._penalty
        return logits_BV


def _pieces(tokenizer: PreTrainedTokenizerFast, sign: str) -> list[tuple[int, str]]:
    """Return the tokens that may hold a sign, each as it is written behind another one."""
    names = tokenizer.get_vocab()
    # Signs of ASCII stand for themselves in the names of tokens, others may be written in another alphabet.
    chosen = sorted(
        id_ for name, id_ in names.items() if sign in name or not (sign.isascii() and sign.isprintable())
    )
    [*_, anchor] = tokenizer.encode("a", add_special_tokens=False)
    bare = len(tokenizer.decode([anchor]))
    texts = tokenizer.batch_decode([[anchor, token] for token in chosen])
    return [(token, text[bare:]) for token, text in zip(chosen, texts, strict=True)]


class EndAfter:
    """Let nothing but the end follow a closing text, which may be repeated up to `most` times."""

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerFast,
        closing: str,
        ends: Sequence[int],
        *,
        least: int = 1,
        most: int = 1,
        penalty: float,
    ) -> None:
        """Take the penalty in nats; after `least` repeats either another one or the end may follow."""
        self._tokenizer = tokenizer
        self._closing = closing
        self._closing_ids: list[int] = tokenizer.encode(closing, add_special_tokens=False)
        self._ends = list(ends)
        self._least = least
        self._most = most
        self._penalty = penalty

    def __call__(self, ids_BT: torch.Tensor, logits_BV: torch.Tensor) -> torch.Tensor:
        logits_BV = logits_BV.clone()
        for b, ids in enumerate(ids_BT[:, -_TAIL_TOKENS:].tolist()):
            allowed = self._allowed(ids)
            if allowed is not None:
                kept = logits_BV[b, allowed].clone()
                logits_BV[b] -= self._penalty
                logits_BV[b, allowed] = kept
        return logits_BV

    def _allowed(self, ids: list[int]) -> list[int] | None:
        """Return the tokens that may follow, None where every token may."""
        for begun in range(len(self._closing_ids) - 1, -1, -1):
            if begun and ids[-begun:] != self._closing_ids[:begun]:
                continue
            times = _repeats(self._tokenizer.decode(ids[: len(ids) - begun]), self._closing)
            if times < self._least:
                continue
            if begun:
                return [self._closing_ids[begun]]
            return [*self._ends, *self._closing_ids[:1]] if times < self._most else self._ends
        return None


def _repeats(text: str, closing: str) -> int:
    """Count how often a text ends with `closing`, without gaps."""
    count = 0
    while text.endswith(closing):
        text = text[: -len(closing)]
        count += 1
    return count
