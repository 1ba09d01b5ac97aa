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
    """Lower the logit of the token that would complete one of the given texts."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast, texts: Iterable[str], penalty: float) -> None:
        """Take the penalty in nats."""
        self._penalty = penalty
        self._sequences = [tokenizer.encode(text, add_special_tokens=False) for text in texts]

    def __call__(self, ids_BT: torch.Tensor, logits_BV: torch.Tensor) -> torch.Tensor:
        logits_BV = logits_BV.clone()
        for *before, last in self._sequences:
            if not before:
                logits_BV[:, last] -= self._penalty
            elif ids_BT.shape[1] >= len(before):
                tail_T = ids_BT.new_tensor(before)
                written_B = (ids_BT[:, -len(before) :] == tail_T).all(-1)
                logits_BV[written_B, last] -= self._penalty
        return logits_BV


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
