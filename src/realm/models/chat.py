"""Chats and texts as token ids, and which of those tokens are trained.

The template of the model decides, never a pattern of ours: tokens inside its
`{% generation %}` blocks are trained, all others are not. A text is trained as a whole, with the
end token behind it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from realm.core.errors import MaskingError, RefusedError
from realm.core.hashing import hash_bytes
from realm.core.records import Example, Message

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

_GENERATION = re.compile(r"\{%-?\s*generation\s*-?%\}")


class Encoded(NamedTuple):
    """One row as tokens, cut at the limit that was asked for."""

    ids: list[int]
    trained: list[bool]
    """Per token: whether predicting it is trained."""
    turns: int
    """Trained regions: unbroken runs of trained tokens."""
    full_tokens: int
    """Tokens before the cut; more than `len(ids)` where the row was too long."""


def encode(tokenizer: PreTrainedTokenizerFast, example: Example, max_tokens: int) -> Encoded:
    """Encode one row, cut at `max_tokens`."""
    return encode_many(tokenizer, [example], max_tokens)[0]


def encode_many(
    tokenizer: PreTrainedTokenizerFast, examples: Sequence[Example], max_tokens: int
) -> list[Encoded]:
    """Encode rows in order, each cut at `max_tokens`; much faster than one by one.

    Raises MaskingError where there are chats and the template marks nothing as generated.
    """
    chats = iter(_encode_chats(tokenizer, [e.messages for e in examples if e.messages], max_tokens))
    texts = iter(_encode_texts(tokenizer, [e.text for e in examples if e.text is not None], max_tokens))
    return [next(chats) if example.messages else next(texts) for example in examples]


def prompt_ids(tokenizer: PreTrainedTokenizerFast, prompts: Sequence[Sequence[Message]]) -> list[list[int]]:
    """Encode prompts up to where the assistant begins to speak.

    A control token written inside a message stays plain text, so that nobody can end a turn
    or speak for the assistant by typing it.
    """
    template_of(tokenizer)
    control = tuple(tokenizer.all_special_tokens)
    plain = [i for i, prompt in enumerate(prompts) if not _mentions(prompt, control)]
    result: list[list[int]] = [[] for _ in prompts]
    if plain:
        encoded = tokenizer.apply_chat_template(
            [_as_dicts(prompts[i]) for i in plain], add_generation_prompt=True, return_dict=True
        )["input_ids"]
        for i, ids in zip(plain, encoded, strict=True):
            result[i] = ids
    for i in set(range(len(prompts))) - set(plain):
        result[i] = tokenizer.apply_chat_template(
            _as_dicts(prompts[i]),
            add_generation_prompt=True,
            return_dict=True,
            sanitize_control_tokens=True,
        )["input_ids"]
    return result


def template_of(tokenizer: PreTrainedTokenizerFast) -> str:
    """Return the chat template's source. Raises RefusedError where there is none."""
    template = tokenizer.chat_template
    if not isinstance(template, str):
        raise RefusedError(
            "the tokenizer has no single chat template", hint="save one as chat_template.jinja beside it"
        )
    return template


def template_hash(tokenizer: PreTrainedTokenizerFast) -> str:
    """Return the hash of the chat template, for records of what was measured with it."""
    return hash_bytes(template_of(tokenizer).encode())


def _encode_chats(
    tokenizer: PreTrainedTokenizerFast, chats: Sequence[Sequence[Message]], max_tokens: int
) -> list[Encoded]:
    if not chats:
        return []
    if not _GENERATION.search(template_of(tokenizer)):
        raise MaskingError(
            "the chat template does not mark what the assistant generates",
            hint="wrap the assistant's content and its end token in {% generation %} … {% endgeneration %}",
        )
    encoded = tokenizer.apply_chat_template(
        [_as_dicts(chat) for chat in chats], return_dict=True, return_assistant_tokens_mask=True
    )
    pairs = zip(encoded["input_ids"], encoded["assistant_masks"], strict=True)
    return [_cut(ids, [bool(m) for m in mask], max_tokens) for ids, mask in pairs]


def _encode_texts(tokenizer: PreTrainedTokenizerFast, texts: Sequence[str], max_tokens: int) -> list[Encoded]:
    if not texts:
        return []
    encoded = tokenizer(list(texts), add_special_tokens=False)["input_ids"]
    end = [] if tokenizer.eos_token_id is None else [tokenizer.eos_token_id]
    return [_cut([*ids, *end], [True] * (len(ids) + len(end)), max_tokens) for ids in encoded]


def _cut(ids: list[int], trained: list[bool], max_tokens: int) -> Encoded:
    kept = trained[:max_tokens]
    starts = sum(now and not before for now, before in zip(kept, [False, *kept], strict=False))
    return Encoded(ids[:max_tokens], kept, starts, len(ids))


def _as_dicts(chat: Iterable[Message]) -> list[dict[str, str]]:
    return [{"role": message.role, "content": message.content} for message in chat]


def _mentions(chat: Iterable[Message], control: tuple[str, ...]) -> bool:
    return any(token in message.content for message in chat for token in control)
