"""Chats and texts as token ids, and how much predicting each of those tokens counts.

Of a chat the turns of the roles that are trained count, the assistant's unless told otherwise: what the
template of the model marks as generated, or what is derived from it (see `template`). A token's weight
is its turn's times its row's. A text is trained as a whole, with the end token behind it.

Shapes: N tokens of all sequences behind each other, S sequences, T tokens of one of them.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from realm.core.errors import DataError, NotFoundError, RefusedError
from realm.core.hashing import hash_bytes
from realm.core.records import Example, Message
from realm.models.encodings import Encoded, Encodings
from realm.models.renderer import Chat, Refusal
from realm.models.shape import Rendered, Roles, Shape
from realm.models.template import ASSISTANT, Template, underivable
from realm.models.words import Track, Words, plain_backend, trained_tokens

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

_MANY_ROWS = 128
"""From so many rows on it pays to tokenise each word once."""
_ROWS_AT_ONCE = 2048


def encode(
    tokenizer: PreTrainedTokenizerFast, example: Example, max_tokens: int, roles: Roles = ASSISTANT
) -> Encoded:
    """Encode one row, cut at `max_tokens`."""
    return encode_flat(tokenizer, [example], max_tokens, roles)[0]


def encode_many(
    tokenizer: PreTrainedTokenizerFast,
    examples: Sequence[Example],
    max_tokens: int,
    roles: Roles = ASSISTANT,
) -> list[Encoded]:
    """Encode rows in order, each cut at `max_tokens`; much faster than one by one.

    Raises what `encode_flat` does.
    """
    return list(encode_flat(tokenizer, examples, max_tokens, roles))


def encode_flat(
    tokenizer: PreTrainedTokenizerFast,
    examples: Sequence[Example],
    max_tokens: int,
    roles: Roles = ASSISTANT,
    *,
    plainly: bool = False,
) -> Encodings:
    """Encode rows in order into a few arrays; turns of `roles` are trained.

    `plainly` renders every chat and tokenises every text as a whole: slower, for comparison. Raises
    DataError, with the row's place from 1 as its line, for a chat that the template refuses, and
    MaskingError where what is trained cannot be told.
    """
    template = Template.of(tokenizer, roles) if any(example.messages for example in examples) else None
    words = Words.of(tokenizer) if len(examples) >= _MANY_ROWS and not plainly else None
    parts = [
        _part(tokenizer, template, words, examples[begin : begin + _ROWS_AT_ONCE], begin, plainly=plainly)
        for begin in range(0, len(examples), _ROWS_AT_ONCE)
    ]
    if not parts:
        parts = [(np.zeros(0, np.int32), np.zeros(0, np.float32), np.zeros(0, np.int64))]
    ids, weights, sizes = zip(*parts, strict=True)
    return Encodings.of(np.concatenate(ids), np.concatenate(weights), np.concatenate(sizes), max_tokens)


def prompt_ids(tokenizer: PreTrainedTokenizerFast, prompts: Sequence[Sequence[Message]]) -> list[list[int]]:
    """Encode prompts up to where the assistant begins to speak.

    A control token written inside a message stays plain text, so that nobody can end a turn
    or speak for the assistant by typing it.
    """
    control = tuple(tokenizer.all_special_tokens)
    texts = Template.of(tokenizer).prompts(prompts) if prompts else []
    for index, text in enumerate(texts):
        if isinstance(text, Refusal):
            raise DataError(text.reason, file="prompt", line=index + 1)
    whole = plain_backend(tokenizer).encode_batch_fast(list(texts), add_special_tokens=False)
    result: list[list[int]] = [encoding.ids for encoding in whole]
    for index, prompt in enumerate(prompts):
        if any(token in turn.content for turn in prompt for token in control):
            # Its template has just shown, in its own process, that it comes to an end for this prompt.
            result[index] = tokenizer.apply_chat_template(
                [{"role": turn.role, "content": turn.content} for turn in prompt],
                add_generation_prompt=True,
                return_dict=True,
                sanitize_control_tokens=True,
            )["input_ids"]
    return result


def template_of(tokenizer: PreTrainedTokenizerFast) -> str:
    """Return the chat template's source. Raises RefusedError where there is none."""
    return Template.of(tokenizer).source


def template_hash(tokenizer: PreTrainedTokenizerFast) -> str:
    """Return the hash of the chat template, for records of what was measured with it."""
    return hash_bytes(template_of(tokenizer).encode())


def load_tokenizer(folder: Path) -> PreTrainedTokenizerFast:
    """Load a tokenizer from its own or a model's folder. Raises UnsafeFileError as `files.load` does."""
    from transformers import PreTrainedTokenizerFast

    from realm.models.files import refuse_unsafe

    if not (folder / "tokenizer.json").is_file():
        raise NotFoundError(
            f"{folder}: tokenizer.json is missing", hint="is this a model's or tokenizer's folder?"
        )
    with suppress(NotFoundError):  # every file is looked at before a model's config is missed
        refuse_unsafe(folder)
    loaded: PreTrainedTokenizerFast = PreTrainedTokenizerFast.from_pretrained(
        folder, local_files_only=True, trust_remote_code=False
    )
    return loaded


def end_ids(tokenizer: PreTrainedTokenizerFast) -> frozenset[int]:
    """Return the tokens that end answers: the tokenizer's, and what its template ends turns with."""
    ends = {tokenizer.eos_token_id}
    if isinstance(tokenizer.chat_template, str):
        token = Template.of(tokenizer).end_token()
        ends.add(None if token is None else tokenizer.get_added_vocab()[token])
    return frozenset(end for end in ends if end is not None)


_Part = tuple[NDArray[np.int32], NDArray[np.float32], NDArray[np.int64]]


class _Flat:
    """Tokens of rows as they are laid behind each other."""

    def __init__(self) -> None:
        self.parts: list[list[int]] = []
        self.counts: list[int] = []
        """Tokens of runs of one weight."""
        self.weights: list[float] = []
        self.sizes: list[int] = []

    def add(self, ids: list[int], weights_T: NDArray[np.float32]) -> None:
        """Add a whole sequence."""
        self.parts.append(ids)
        self.sizes.append(len(ids))
        begins = [0, *(np.flatnonzero(np.diff(weights_T)) + 1).tolist()] if ids else []
        self.counts += [end - begin for begin, end in itertools.pairwise([*begins, len(ids)])]
        self.weights += weights_T[begins].tolist()

    def arrays(self) -> _Part:
        """Return ids (N,), weights (N,) and sizes (S,)."""
        sizes_S = np.asarray(self.sizes, np.int64)
        ids_N = np.fromiter(itertools.chain.from_iterable(self.parts), np.int32, int(sizes_S.sum()))
        weights_N = np.repeat(np.asarray(self.weights, np.float32), np.asarray(self.counts, np.int64))
        return ids_N, weights_N, sizes_S


def _part(
    tokenizer: PreTrainedTokenizerFast,
    template: Template | None,
    words: Words | None,
    examples: Sequence[Example],
    first: int,
    *,
    plainly: bool,
) -> _Part:
    """Encode some rows, the first of which is row `first` of all."""
    chats: list[Chat] = [example.messages for example in examples if example.messages]
    plans: list[Shape | Rendered | Refusal] = []
    if template is not None:
        plans = list(template.rendered(chats)) if plainly else template.plan(chats)
    plan = iter(plans)
    rows = [_Row(example, next(plan) if example.messages else None, words) for example in examples]
    for index, row in enumerate(rows):
        if isinstance(row.plan, Refusal):
            raise _refused(row.plan, first + index + 1)
    if words is not None:
        words.learn(
            itertools.chain.from_iterable(split[1:] for row in rows for split in row.words),
            (first_word for row in rows for first_word in row.first_words()),
        )
    whole = iter(_whole(tokenizer, [row for row in rows if row.track is None]))
    end = [] if tokenizer.eos_token_id is None else [tokenizer.eos_token_id]
    flat = _Flat()
    for row in rows:
        if row.track is None:
            flat.add(*next(whole))
        elif words is not None:
            _lay(flat, row, row.track, words, end)
    return flat.arrays()


_TEXT = Track(Shape(("", ""), (), ()), ([], []), ("",), (0,), (True,), (0,), (0,))
"""A text laid out as if it were the only turn of a chat without a template."""


class _Row:
    """One row on its way to tokens."""

    __slots__ = ("example", "plan", "track", "words")

    def __init__(
        self, example: Example, plan: Shape | Rendered | Refusal | None, words: Words | None
    ) -> None:
        self.example = example
        self.plan = plan
        self.track: Track | None = None
        self.words: list[list[str]] = []
        if words is None:
            return
        if example.text is not None:
            self.track = _TEXT
            self.words = [words.split(example.text)]
        elif isinstance(plan, Shape):
            self.track = words.track(plan)
            if self.track is not None:
                self.words = [
                    words.split(right + edge(turn.content))
                    for right, edge, turn in zip(self.track.rights, plan.edges, example.messages, strict=True)
                ]

    def first_words(self) -> Iterator[tuple[str, int, str]]:
        """Yield what stands before each turn's content, how much of it is masked, and the first word."""
        if self.track is not None:
            for right, cut, split in zip(self.track.rights, self.track.cuts, self.words, strict=True):
                yield right, cut, split[0][len(right) :]


def _lay(flat: _Flat, row: _Row, track: Track, words: Words, end: list[int]) -> None:
    """Lay a row's tokens behind the others, word by word."""
    parts, counts, weights = flat.parts, flat.counts, flat.weights
    size, lead = 0, 0
    row_weight, turns = row.example.weight, row.example.messages
    for index, split in enumerate(row.words):
        between, right = track.between[index], track.rights[index]
        first = words.first(right, track.cuts[index], split[0][len(right) :])
        later = words.later(split[1:])
        parts.append(between)
        parts.append(first.ids)
        parts += later
        written = len(first.ids) + sum(map(len, later))
        size += len(between) + written
        if track.trained[index]:
            masked = 0 if track.tails[index] else first.masked
            counts.append(len(between) - lead - track.tails[index] + masked)
            weights.append(0.0)
            lead = track.leads[index]
            counts.append(track.tails[index] + written - masked + lead)
            weights.append(turns[index].weight * row_weight if turns else row_weight)
        else:
            counts.append(len(between) - lead + written)
            weights.append(0.0)
            lead = 0
    closing = track.between[-1] if turns else end
    parts.append(closing)
    counts.append(len(closing) - lead)
    weights.append(0.0 if turns else row_weight)
    flat.sizes.append(size + len(closing))


def _whole(
    tokenizer: PreTrainedTokenizerFast, rows: Sequence[_Row]
) -> Iterator[tuple[list[int], NDArray[np.float32]]]:
    """Tokenise rows as whole texts; yield each row's ids and weights."""
    texts = []
    for row in rows:
        if isinstance(row.plan, Shape):
            row.plan = row.plan.rendered(row.example.messages)
        texts.append(row.plan.text if isinstance(row.plan, Rendered) else row.example.text or "")
    end = [] if tokenizer.eos_token_id is None else [tokenizer.eos_token_id]
    encodings = plain_backend(tokenizer).encode_batch(texts, add_special_tokens=False)
    for row, encoding in zip(rows, encodings, strict=True):
        if isinstance(row.plan, Rendered):
            yield encoding.ids, _weights(row.example, row.plan, encoding.offsets)
        else:
            ids = [*encoding.ids, *end]
            yield ids, np.full(len(ids), row.example.weight, np.float32)


def _weights(example: Example, rendered: Rendered, offsets: Sequence[tuple[int, int]]) -> NDArray[np.float32]:
    weights_T = np.zeros(len(offsets), np.float32)
    for span in rendered.spans:
        weight = example.messages[span.message].weight * example.weight
        weights_T[trained_tokens(offsets, rendered.text, [(span.begin, span.end)])] = weight
    return weights_T


def _refused(refusal: Refusal, row: int) -> RefusedError:
    if refusal.masking:
        return underivable(f"{refusal.reason} (row {row})")
    return DataError(
        refusal.reason, file="rows", line=row, hint="write the chat as the model's template asks"
    )
