"""The masking proof: before the first step, for this model, tokenizer, template and these rows.

1. the trained share of the chats' tokens lies within bounds;
2. every chat has as many trained regions as assistant turns;
3. a trained region ends with the end token and holds no other turn or instruction marker;
4. rows begin masked, so that masked and trained tokens alternate in packs as in the rows;
5. labels are in the vocabulary and not all the same token;
6. on a sample, the pack's loss equals the sum of the rows' losses computed alone by the untouched
   model, and changing one row changes no other row's loss.

A text row is trained as a whole: only 5 and 6 hold for it. What this does not prove: that the text
itself is right, or that rows outside the sample of check 6 behave as those inside it do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from realm.core.errors import MaskingError
from realm.core.records import Example
from realm.models.chat import Encoded
from realm.training.rules import Masking

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

MARKERS = ("<|im_start|>", "<|start_header_id|>", "<start_of_turn>", "[INST]", "### Instruction:", "<|user|>")
"""Written beginnings of turns, which no assistant text may contain."""
_SHOWN_ROWS = 3
_SHOWN_CHARACTERS = 400


@dataclass(frozen=True, slots=True)
class Sequences:
    """What is proven: sequences as text and as tokens, with the lines they come from."""

    examples: Sequence[Example]
    encoded: Sequence[Encoded]
    numbers: Sequence[int]


def prove_rows(
    rows: Sequences, tokenizer: PreTrainedTokenizerFast, vocabulary: int, bounds: Masking
) -> tuple[str, ...]:
    """Run checks 1 to 5 on every row; return each with its figure. Raises MaskingError."""
    chats = [i for i, example in enumerate(rows.examples) if example.messages]
    checks: list[str] = []
    if chats:
        checks += [
            _share(rows, chats, tokenizer, bounds),
            _regions(rows, chats, tokenizer),
            _markers(rows, chats, tokenizer),
            _alternation(rows, chats, tokenizer),
        ]
    return (*checks, _labels(rows, tokenizer, vocabulary))


def _share(rows: Sequences, chats: list[int], tokenizer: PreTrainedTokenizerFast, bounds: Masking) -> str:
    total = sum(len(rows.encoded[i].ids) for i in chats)
    share = sum(int(rows.encoded[i].trained.sum()) for i in chats) / total
    if share < bounds.min_trained_share:
        wrong = f"only {share:.1%} of the tokens are trained, at least {bounds.min_trained_share:.0%} must be"
        raise _refusal(wrong, rows, chats, tokenizer)
    if 1 - share < bounds.min_masked_share:
        wrong = (
            f"only {1 - share:.1%} of the tokens are masked, at least {bounds.min_masked_share:.0%} must be"
        )
        raise _refusal(wrong, rows, chats, tokenizer)
    return f"share: {share:.1%} of {total} tokens are trained"


def _regions(rows: Sequences, chats: list[int], tokenizer: PreTrainedTokenizerFast) -> str:
    turns = [_turns(rows.examples[i]) for i in chats]
    wrong = [i for i, expected in zip(chats, turns, strict=True) if rows.encoded[i].turns != expected]
    if wrong:
        raise _refusal("trained regions do not match the assistant's turns", rows, wrong, tokenizer)
    return f"regions: {sum(turns)} trained regions for {sum(turns)} assistant turns in {len(chats)} chats"


def _markers(rows: Sequences, chats: list[int], tokenizer: PreTrainedTokenizerFast) -> str:
    end = tokenizer.eos_token_id
    forbidden = frozenset(tokenizer.all_special_ids) - {end}
    regions = [(i, region) for i in chats for region in _trained_regions(rows.encoded[i])]
    endless = [i for i, region in regions if region[-1] != end or region.count(end) != 1]
    if endless:
        wrong = "a trained region does not end with its one end token, so the model would not learn to stop"
        raise _refusal(wrong, rows, endless, tokenizer)
    texts = tokenizer.batch_decode([region[:-1] for _, region in regions])
    marked = [
        i
        for (i, region), text in zip(regions, texts, strict=True)
        if not forbidden.isdisjoint(region) or any(marker in text for marker in MARKERS)
    ]
    if marked:
        raise _refusal("turn or instruction markers are inside trained text", rows, marked, tokenizer)
    return f"markers: none in {len(regions)} trained regions, each ends with the end token"


def _alternation(rows: Sequences, chats: list[int], tokenizer: PreTrainedTokenizerFast) -> str:
    open_rows = [i for i in chats if rows.encoded[i].trained[0]]
    if open_rows:
        raise _refusal("rows begin with trained tokens", rows, open_rows, tokenizer)
    packed = [trained for i in chats for trained in rows.encoded[i].trained.tolist()]
    rises = sum(now and not before for before, now in zip([False, *packed], packed, strict=False))
    regions = sum(rows.encoded[i].turns for i in chats)
    if rises != regions:
        raise _refusal(f"{rises} trained regions in packs, {regions} in rows", rows, chats, tokenizer)
    return f"alternation: {rises} changes from masked to trained in packs, as in the rows"


def _labels(rows: Sequences, tokenizer: PreTrainedTokenizerFast, vocabulary: int) -> str:
    everything = range(len(rows.encoded))
    outside = [i for i in everything if rows.encoded[i].ids.max() >= vocabulary]
    if outside:
        wrong = f"token ids lie outside the model's vocabulary of {vocabulary}"
        raise _refusal(wrong, rows, outside, tokenizer)
    labels = {token for row in rows.encoded for region in _trained_regions(row) for token in region}
    if len(labels) == 1:
        raise _refusal("every label is the same token", rows, list(everything), tokenizer)
    return f"labels: {len(labels)} different tokens, all within the vocabulary of {vocabulary}"


def _turns(example: Example) -> int:
    return sum(m.role == "assistant" and m.weight * example.weight > 0 for m in example.messages)


def _trained_regions(row: Encoded) -> list[list[int]]:
    regions: list[list[int]] = []
    before = False
    for token, trained in zip(row.ids.tolist(), row.trained.tolist(), strict=True):
        if trained and not before:
            regions.append([])
        if trained:
            regions[-1].append(token)
        before = trained
    return regions


def _refusal(
    wrong: str, rows: Sequences, indices: Sequence[int], tokenizer: PreTrainedTokenizerFast
) -> MaskingError:
    found = sorted(set(indices))
    shown = "; ".join(
        f"row {rows.numbers[i]}: {marked_text(rows.encoded[i], tokenizer)}" for i in found[:_SHOWN_ROWS]
    )
    return MaskingError(
        f"{wrong} ({len(found)} of {len(rows.encoded)} rows; trained text in ⟦ ⟧). {shown}",
        hint="check the chat template's {% generation %} blocks and these rows",
    )


def marked_text(row: Encoded, tokenizer: PreTrainedTokenizerFast) -> str:
    """Write a row as text with its trained regions in ⟦ ⟧, at most 400 characters."""
    pieces: list[str] = []
    run: list[int] = []
    for place, token in enumerate(row.ids.tolist()):
        run.append(token)
        last = place + 1 == len(row.ids)
        if last or row.trained[place + 1] != row.trained[place]:
            text = tokenizer.decode(run)
            pieces.append(f"⟦{text}⟧" if row.trained[place] else text)
            run = []
    text = "".join(c if c.isprintable() else "·" for c in "".join(pieces))
    return text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "…"
