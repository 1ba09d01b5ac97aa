"""Count a text's tokens as a model's tokenizer cuts them, without its special tokens.

Where texts are cut at spaces each word is tokenised once, so that a known word costs a look-up.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from realm.models.words import Words, plain_backend

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

_MOST_KEPT = 1 << 20


class TokenCounter:
    """Counts for one tokenizer; remembers up to a million words."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast) -> None:
        self._backend = plain_backend(tokenizer)
        self._words = Words.of(tokenizer)
        self._known: dict[str, int] = {}

    @staticmethod
    def of(folder: Path) -> TokenCounter:
        """Count as the tokenizer in a model's folder does. Raises NotFoundError and UnsafeFileError."""
        from realm.models.chat import load_tokenizer

        return TokenCounter(load_tokenizer(folder))

    def __call__(self, text: str) -> int:
        """Return how many tokens a text has."""
        if self._words is None:
            return len(self._backend.encode(text, add_special_tokens=False).ids)
        if len(self._known) > _MOST_KEPT:
            self._known.clear()
        first, *later = self._words.split(text)
        # Only words behind a space are cut the same in every text; the first stands without one.
        pieces = [first, *(f" {word}" for word in later)]
        new = {piece for piece in pieces if piece not in self._known}
        if new:
            self._learn(sorted(new))
        return sum(map(self._known.__getitem__, pieces))

    def _learn(self, pieces: list[str]) -> None:
        encoded = self._backend.encode_batch_fast(pieces, add_special_tokens=False)
        self._known.update(zip(pieces, map(len, encoded), strict=True))
