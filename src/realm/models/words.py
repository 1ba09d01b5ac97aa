"""Tokenise word by word, each word once: the same ids as the tokenizer gives for the whole text, faster.

Byte-level BPE tokenizers cut a text into pieces and merge within them. Where they cut before every
space between two other characters, which is asked of the tokenizer itself, a text's tokens are those of
its words, and added tokens cut it too. Rows of one shape then cost a look-up a word. Tokenizers of
other kinds are not taken.

Shapes: T tokens of a text.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from realm.models.shape import Shape, Span

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

_RAGGED = re.compile(r" \s|\s | $")
"""A space beside another blank, where pieces may be cut otherwise."""
_BETWEEN_WORDS = re.compile(r"(?<=\S) (?=\S)")
_CLASSES = "aZé中あا9①٣.,;:'\"-_/#()<>|{}[]$€+=~`@^&*\\!?🙂\u0301\u200d½ßʼ、。"
"""One character of each kind that cutting rules tell apart."""
_MOST_KEPT = 1 << 20

Ids = list[int]


class First(NamedTuple):
    """The tokens of a turn's beginning, and how many of them are not trained where the turn is."""

    ids: Ids
    masked: int


class Track(NamedTuple):
    """A shape as tokens: what stands between contents is tokenised once."""

    shape: Shape
    between: tuple[Ids, ...]
    """Up to the last added token before each content, and all behind the last content."""
    rights: tuple[str, ...]
    """What follows that token; it is tokenised together with the content's first word."""
    cuts: tuple[int, ...]
    """Characters of it that are never trained."""
    trained: tuple[bool, ...]
    tails: tuple[int, ...]
    """Tokens at the end of `between` before each content that are trained with it."""
    leads: tuple[int, ...]
    """Tokens at the beginning of `between` behind each content that are trained with it."""


class Words:
    """The words of one tokenizer that have been met so far."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast) -> None:
        self._backend = plain_backend(tokenizer)
        added = sorted(tokenizer.get_added_vocab(), key=len, reverse=True)
        self._added = re.compile("|".join(map(re.escape, added)) or "(?!)")
        self._later: dict[str, Ids] = {}
        self._firsts: dict[tuple[str, int], dict[str, First]] = {}
        self._tracks: dict[int, tuple[Shape, Track | None]] = {}

    @staticmethod
    def of(tokenizer: PreTrainedTokenizerFast) -> Words | None:
        """Return the words of a tokenizer, None where texts are not cut at spaces."""
        return Words(tokenizer) if _cuts_at_spaces(tokenizer) else None

    def track(self, shape: Shape) -> Track | None:
        """Return a shape as tokens; None where its contents do not lie between added tokens."""
        found = self._tracks.get(id(shape))
        if found is None:  # the shape is kept too, so that nothing else gets its id
            found = self._tracks[id(shape)] = (shape, self._laid(shape))
        return found[1]

    def split(self, text: str) -> list[str]:
        """Cut a text into words; all but the first had a space before them."""
        return _BETWEEN_WORDS.split(text) if _RAGGED.search(text) else text.split(" ")

    def learn(self, words: Iterable[str], firsts: Iterable[tuple[str, int, str]]) -> None:
        """Tokenise the words that are not known yet, and beginnings of turns (right, cut, word)."""
        if len(self._later) > _MOST_KEPT:
            self._later.clear()
            self._firsts.clear()
        new = [word for word in set(words) if word not in self._later]
        texts = [f" {word}" for word in new]
        for word, encoding in zip(
            new, self._backend.encode_batch_fast(texts, add_special_tokens=False), strict=True
        ):
            self._later[word] = encoding.ids
        missing = [
            (right, cut, word)
            for right, cut, word in set(firsts)
            if word not in self._firsts.setdefault((right, cut), {})
        ]
        texts = [right + word for right, _, word in missing]
        for (right, cut, word), encoding in zip(
            missing, self._backend.encode_batch(texts, add_special_tokens=False), strict=True
        ):
            text = right + word
            trained = trained_tokens(encoding.offsets, text, [(cut, len(text))])
            self._firsts[right, cut][word] = First(
                encoding.ids, len(trained) - int(np.count_nonzero(trained))
            )

    def first(self, right: str, cut: int, word: str) -> First:
        """Return the tokens of a turn's beginning that has been learnt."""
        return self._firsts[right, cut][word]

    def later(self, words: Sequence[str]) -> list[Ids]:
        """Return the tokens of words that have been learnt, each with its space."""
        return list(map(self._later.__getitem__, words))

    def _laid(self, shape: Shape) -> Track | None:
        last = len(shape.glue) - 1
        texts, rights = [], []
        for index, glue in enumerate(shape.glue):
            tokens = list(self._added.finditer(glue))
            if index and glue and (not tokens or tokens[0].start()):
                return None
            cut = len(glue) if index == last else tokens[-1].end() if tokens else 0
            texts.append(glue[:cut])
            rights.append(glue[cut:])
        if any(" " in right for right in rights) or not all(shape.glue[1:]):
            return None
        found = self._backend.encode_batch(texts, add_special_tokens=False)
        spans = {span.message: span for span in shape.spans}
        if len(spans) != len(shape.spans):
            return None
        cuts, tails, leads = [], [], []
        for index in range(last):
            span = spans.get(index, Span(len(shape.glue[index]), 0, index))
            before, behind = texts[index], texts[index + 1]
            tail = trained_tokens(found[index].offsets, before, [(span.begin, len(before))])
            lead = trained_tokens(found[index + 1].offsets, behind, [(0, span.end)])
            if span.end > len(behind) or not (_sorted(tail) and _sorted(~lead)):
                return None
            cuts.append(max(0, span.begin - len(before)))
            tails.append(int(np.count_nonzero(tail)))
            leads.append(int(np.count_nonzero(lead)))
        return Track(
            shape,
            tuple(encoding.ids for encoding in found),
            tuple(rights[:-1]),
            tuple(cuts),
            tuple(index in spans for index in range(last)),
            tuple(tails),
            tuple(leads),
        )


def trained_tokens(
    offsets: Sequence[tuple[int, int]], text: str, spans: Sequence[tuple[int, int]]
) -> NDArray[np.bool_]:
    """Return (T,) which tokens lie in the spans of a text.

    A token that begins before a span belongs to it where only blanks stand before the span.
    """
    trained_T = np.zeros(len(offsets), np.bool_)
    if not len(offsets):
        return trained_T
    begins_T, ends_T = np.asarray(offsets).T
    for begin, end in spans:
        inside_T = (ends_T > begin) & (begins_T < end)
        for index in np.flatnonzero(inside_T & (begins_T < begin)):
            inside_T[index] = not text[begins_T[index] : begin].strip()
        trained_T |= inside_T
    return trained_T


def plain_backend(tokenizer: PreTrainedTokenizerFast) -> Any:
    """Return the tokenizer's engine, set neither to cut nor to pad."""
    backend = tokenizer.backend_tokenizer
    backend.no_truncation()
    backend.no_padding()
    return backend


def _sorted(flags_T: NDArray[np.bool_]) -> bool:
    """Tell whether no False stands behind a True."""
    return bool(np.all(flags_T[:-1] <= flags_T[1:]))


def _cuts_at_spaces(tokenizer: PreTrainedTokenizerFast) -> bool:
    backend = tokenizer.backend_tokenizer
    if type(backend.model).__name__ != "BPE" or backend.model.dropout or backend.pre_tokenizer is None:
        return False
    cutter = json.loads(backend.pre_tokenizer.__getstate__())
    steps = cutter["pretokenizers"] if cutter["type"] == "Sequence" else [cutter]
    if steps[-1]["type"] != "ByteLevel" or any(step.get("add_prefix_space") for step in steps):
        return False
    if backend.normalizer is not None:
        normaliser = json.loads(backend.normalizer.__getstate__())
        if normaliser["type"] != "NFC" and normaliser.get("normalizers") != []:
            return False
    for token in tokenizer.added_tokens_decoder.values():
        if token.lstrip or token.rstrip or token.single_word or re.search(r"\s", token.content):
            return False
    pairs = itertools.product(_CLASSES, repeat=2)
    return all(
        any(begin == 2 for _, (begin, _) in backend.pre_tokenizer.pre_tokenize_str(f"x{left} {right}y"))
        for left, right in pairs
    )
