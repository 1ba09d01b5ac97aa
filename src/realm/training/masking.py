"""The masking proof: before the first step, for this model, tokenizer, template and these rows.

1. the trained share of the chats' tokens lies within bounds;
2. every chat has as many trained regions as turns that are to be trained, those of weight 0 left out;
3. a trained region ends with its one end token and holds no other turn or instruction marker;
4. rows begin masked, so that masked and trained tokens alternate in packs as in the rows;
5. labels are in the vocabulary, not all the same token, and at most half of them the unknown token;
6. on a sample, the pack's loss equals the sum of the rows' losses computed alone by the untouched
   model, and changing one row changes no other row's loss.

A text row is trained as a whole: only 5 and 6 hold for it. What this does not prove: that the text
itself is right, or that rows outside the sample of check 6 behave as those inside it do.

Shapes: N tokens of all sequences, S sequences, G trained regions of chats.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from realm.core.errors import MaskingError
from realm.models.chat import end_ids
from realm.models.encodings import Encoded, Encodings
from realm.training.rules import Masking

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

MARKERS = (
    "<|im_start|>",
    "<|start_header_id|>",
    "<start_of_turn>",
    "[INST]",
    "[/INST]",
    "### Instruction:",
    "<|system|>",
    "<|user|>",
    "<|assistant|>",
    "<｜User｜>",
    "<｜Assistant｜>",
)
"""Written beginnings of turns (ChatML, Llama, Gemma, Mistral, Alpaca, Phi and Zephyr, DeepSeek)."""
_MOST_UNKNOWN = 0.5
"""Share of the labels that may be the unknown token: above it the tokenizer is not one for these rows."""
_SHOWN_ROWS = 3
_SHOWN_CHARACTERS = 400


@dataclass(frozen=True, slots=True)
class Sequences:
    """What is proven: sequences, what is expected of them, and the rows they come from."""

    encoded: Encodings
    expected_S: NDArray[np.int64]
    """Turns of each that are to be trained; -1 for a text."""
    rows_S: NDArray[np.int64]
    """Index of each one's row."""
    numbers: Sequence[str]
    """Each row's line, by its index."""


def prove_rows(
    rows: Sequences, tokenizer: PreTrainedTokenizerFast, vocabulary: int, bounds: Masking
) -> tuple[str, ...]:
    """Run checks 1 to 5 on every row; return each with its figure. Raises MaskingError."""
    proof = _Proof(rows, tokenizer)
    checks: list[str] = []
    if len(proof.chats):
        checks += [proof.share(bounds), proof.regions(), proof.markers(), proof.alternation()]
    return (*checks, proof.labels(vocabulary))


class _Proof:
    """The arrays that the checks share."""

    def __init__(self, rows: Sequences, tokenizer: PreTrainedTokenizerFast) -> None:
        self._rows, self._tokenizer = rows, tokenizer
        self._found = found = rows.encoded.compact()
        self.chats: NDArray[np.int64] = np.flatnonzero(rows.expected_S >= 0)
        """Which sequences are chats."""
        self._trained_N = found.weights_N > 0
        begins_G, ends_G = _runs(self._trained_N, found.begins_S)
        sequence_G = np.searchsorted(found.begins_S, begins_G, side="right") - 1
        of_chat_G = rows.expected_S[sequence_G] >= 0
        self._begins_G, self._ends_G = begins_G[of_chat_G], ends_G[of_chat_G]
        self._sequence_G = sequence_G[of_chat_G]

    def share(self, bounds: Masking) -> str:
        """Check 1."""
        counted_N = np.concatenate([[0], np.cumsum(self._trained_N, dtype=np.int64)])
        begins, sizes = self._found.begins_S[self.chats], self._found.sizes_S[self.chats]
        total = int(sizes.sum())
        share = int((counted_N[begins + sizes] - counted_N[begins]).sum()) / total
        for part, least, what in (
            (share, bounds.min_trained_share, "trained"),
            (1 - share, bounds.min_masked_share, "masked"),
        ):
            if part < least:
                key = f"rules.masking.min_{what}_share"
                wrong = f"only {part:.1%} of the tokens are {what}, at least {least:.0%} must be"
                raise self._refusal(wrong, self.chats, f"; lower {key} if they are meant so")
        return f"share: {share:.1%} of {total} tokens are trained"

    def regions(self) -> str:
        """Check 2."""
        expected, found = self._rows.expected_S[self.chats], self._found.turns_S[self.chats]
        if (expected != found).any():
            wrong = "trained regions do not match the assistant's turns"
            raise self._refusal(wrong, self.chats[expected != found])
        turns = int(expected.sum())
        return f"regions: {turns} trained regions for {turns} assistant turns in {len(self.chats)} chats"

    def markers(self) -> str:
        """Check 3."""
        ids_N, ends = self._found.ids_N, np.asarray(sorted(end_ids(self._tokenizer)), np.int32)
        counted_N = np.concatenate([[0], np.cumsum(np.isin(ids_N, ends), dtype=np.int64)])
        closing_G = counted_N[self._ends_G] - counted_N[self._begins_G]
        endless_G = (closing_G != 1) | ~np.isin(ids_N[self._ends_G - 1], ends)
        if endless_G.any():
            wrong = (
                "a trained region does not end with its one end token, so the model would not learn to stop"
            )
            raise self._refusal(wrong, self._sequence_G[endless_G])
        for wrong, inside in (
            ("turn or instruction markers are inside trained text", np.asarray(self._written(), np.int64)),
            ("special tokens that end nothing are inside trained text", self._forbidden(ends)),
        ):
            if len(inside):
                raise self._refusal(wrong, self._sequence_G[inside])
        return f"markers: none in {len(self._begins_G)} trained regions, each ends with the end token"

    def alternation(self) -> str:
        """Check 4."""
        open_rows = self.chats[self._trained_N[self._found.begins_S[self.chats]]]
        if len(open_rows):
            raise self._refusal("rows begin with trained tokens", open_rows)
        return f"alternation: each of {len(self.chats)} chats begins masked, in packs too"

    def labels(self, vocabulary: int) -> str:
        """Check 5."""
        ids_N = self._found.ids_N
        outside_N = np.flatnonzero((ids_N >= vocabulary) | (ids_N < 0))
        if len(outside_N):
            wrong = f"token ids lie outside the model's vocabulary of {vocabulary}"
            raise self._refusal(wrong, np.searchsorted(self._found.begins_S, outside_N, side="right") - 1)
        counts_V = np.bincount(ids_N[self._trained_N], minlength=1)
        labels, commonest = int(np.count_nonzero(counts_V)), float(counts_V.max() / max(1, counts_V.sum()))
        if labels == 1:
            raise self._refusal("every label is the same token", np.arange(len(self._found)))
        self._known(counts_V)
        return (
            f"labels: {labels} different tokens, all within the vocabulary of {vocabulary}; "
            f"the commonest is {commonest:.1%} of them"
        )

    def _known(self, counts_V: NDArray[np.int64]) -> None:
        """Refuse labels that are mostly the unknown token, which says nothing of the text."""
        unknown = self._tokenizer.unk_token_id
        if unknown is None or unknown in end_ids(self._tokenizer) or unknown >= len(counts_V):
            return
        share = counts_V[unknown] / max(1, counts_V.sum())
        if share > _MOST_UNKNOWN:
            wrong = f"{share:.1%} of the labels are the unknown token, at most {_MOST_UNKNOWN:.0%} may be"
            found_N = np.flatnonzero(self._trained_N & (self._found.ids_N == unknown))
            raise self._refusal(wrong, np.searchsorted(self._found.begins_S, found_N, side="right") - 1)

    def _forbidden(self, ends: NDArray[np.int32]) -> NDArray[np.int64]:
        """Return which regions hold special tokens that are no end."""
        special = {*self._tokenizer.all_special_ids}
        special |= {i for i, token in self._tokenizer.added_tokens_decoder.items() if token.special}
        found_N = np.isin(self._found.ids_N, np.asarray(sorted(special - {*ends.tolist()}), np.int32))
        counted_N = np.concatenate([[0], np.cumsum(found_N, dtype=np.int64)])
        return np.flatnonzero(counted_N[self._ends_G] - counted_N[self._begins_G])

    def _written(self) -> list[int]:
        """Return which regions hold a marker as plain text; only those that could hold one are decoded."""
        if not len(self._begins_G):
            return []
        signs = [{sign for sign in marker if sign.isascii() and not sign.isalnum()} for marker in MARKERS]
        alphabet = sorted(set().union(*signs) - {" "})
        labels = np.unique(self._found.ids_N[self._trained_N])
        bits = np.zeros(int(labels[-1]) + 1, np.int64)
        for label, token in zip(labels, self._tokenizer.convert_ids_to_tokens(labels.tolist()), strict=True):
            bits[label] = sum(1 << place for place, sign in enumerate(alphabet) if token and sign in token)
        bits_N = np.append(
            np.where(self._trained_N, bits[np.where(self._trained_N, self._found.ids_N, 0)], 0), 0
        )
        # Without the end token: a template's own may be made of the same signs.
        edges = np.stack([self._begins_G, self._ends_G - 1], axis=1).ravel()
        bits_G = np.where(self._ends_G - 1 > self._begins_G, np.bitwise_or.reduceat(bits_N, edges)[::2], 0)
        wanted = {sum(1 << alphabet.index(sign) for sign in marker - {" "}) for marker in signs}
        possible = np.zeros(len(bits_G), np.bool_)
        for need in wanted:
            possible |= (bits_G & need) == need
        chosen = np.flatnonzero(possible).tolist()
        ids = [self._found.ids_N[self._begins_G[g] : self._ends_G[g] - 1].tolist() for g in chosen]
        texts = self._tokenizer.batch_decode(ids) if ids else []
        return [g for g, text in zip(chosen, texts, strict=True) if any(marker in text for marker in MARKERS)]

    def _refusal(self, wrong: str, sequences: NDArray[np.int64], way_out: str = "") -> MaskingError:
        found = np.unique(sequences)
        rows = [int(row) for row in np.unique(self._rows.rows_S[found])]
        shown = "; ".join(
            f"row {self._rows.numbers[row]}: {marked_text(self._found[int(i)], self._tokenizer)}"
            for i, row in zip(found[:_SHOWN_ROWS], self._rows.rows_S[found].tolist(), strict=False)
        )
        total = len(np.unique(self._rows.rows_S))
        return MaskingError(
            f"{wrong} ({len(rows)} of {total} rows; trained text in ⟦ ⟧). {shown}",
            hint="check the chat template's {% generation %} blocks and these rows" + way_out,
        )


def _runs(
    trained_N: NDArray[np.bool_], begins_S: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return where unbroken runs of trained tokens begin and end; none reaches over a sequence's border."""
    padded = np.concatenate([[False], trained_N, [False]])
    rises, falls = padded[1:] & ~padded[:-1], ~padded[1:] & padded[:-1]
    borders = begins_S[begins_S < len(trained_N)]
    borders = borders[padded[borders] & padded[borders + 1]]
    rises[borders] = falls[borders] = True
    return np.flatnonzero(rises), np.flatnonzero(falls)


def marked_text(row: Encoded, tokenizer: PreTrainedTokenizerFast) -> str:
    """Write a row as text with its trained regions in ⟦ ⟧, at most 400 characters."""
    cuts = [0, *(np.flatnonzero(np.diff(row.trained)) + 1).tolist(), len(row.ids)]
    pieces = []
    for begin, end in itertools.pairwise(cuts):
        text = tokenizer.decode(row.ids[begin:end].tolist())
        pieces.append(f"⟦{text}⟧" if len(row.ids) and row.trained[begin] else text)
    text = "".join(c if c.isprintable() else "·" for c in "".join(pieces))
    return text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "…"
