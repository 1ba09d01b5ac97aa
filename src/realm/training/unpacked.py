"""Sequences on their own: for models that would mix neighbours in a pack, and for generating.

Sequences of equal length are a batch without padding, so that nothing has to be masked; a
recurrent layer then never reads past its own sequence.

Shapes: R sequences of a group, T tokens of each, M trained tokens, C hidden size.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from peft import PeftModel
from transformers import PreTrainedModel

from realm.models.adapters import decoder
from realm.training.attention import PACKED
from realm.training.batching import Batch


def predictions_apart(model: PreTrainedModel, batch: Batch) -> torch.Tensor:
    """Return the last hidden states (M, C) where a trained token is predicted, group by group."""
    parts, begin = list[torch.Tensor](), 0
    for rows, tokens in batch.groups:
        end = begin + rows * tokens
        inputs_RT = batch.inputs_N[begin:end].view(rows, tokens)
        hidden_RTC = decoder(model)(input_ids=inputs_RT, use_cache=False).last_hidden_state
        inside = (batch.predict_at_M >= begin) & (batch.predict_at_M < end)
        parts.append(hidden_RTC.flatten(0, 1).index_select(0, batch.predict_at_M[inside] - begin))
        begin = end
    return torch.cat(parts)


def is_apart(model: PreTrainedModel | PeftModel) -> bool:
    """Say whether each group of a pack takes a pass of the decoder of its own."""
    inner: Any = decoder(model)
    return bool(inner.config._attn_implementation != PACKED)


def set_apart(model: PreTrainedModel) -> None:
    """Undo what a model was given for packs; `predictions` then runs its groups one by one."""
    inner: Any = decoder(model)
    inner.set_attn_implementation(_own(inner))
    for module in (inner, *inner.layers):
        module.__dict__.pop("forward", None)


def window_of_frequencies(config: Any) -> int | None:
    """Return beyond how many tokens a row turns all rows beside it by other frequencies; none where never.

    Of rotary embeddings of the kind "longrope" transformers chooses one set of frequencies a pass, by its
    largest position. Of the kind "dynamic" it does so beyond the context, where no rows are.
    """
    rope = getattr(config, "rope_parameters", None) or {}
    kinds = [rope] if "rope_type" in rope else [kind for kind in rope.values() if isinstance(kind, dict)]
    long = [kind for kind in kinds if kind.get("rope_type") == "longrope"]
    return min((kind["original_max_position_embeddings"] for kind in long), default=None)


def _own(inner: Any) -> str:
    """Return the attention that a model of this build is loaded with."""
    return "sdpa" if inner._supports_sdpa else "eager"


@contextmanager
def as_loaded(model: PreTrainedModel) -> Iterator[None]:
    """Let a model that is set up for packs run as it was loaded; afterwards it is as before."""
    inner: Any = decoder(model)
    packed = inner.config._attn_implementation
    trimmed = {layer: layer.__dict__.pop("forward") for layer in inner.layers if "forward" in layer.__dict__}
    training = model.training
    if packed == PACKED:
        inner.set_attn_implementation(_own(inner))
    try:
        yield
    finally:
        inner.set_attn_implementation(packed)
        for layer, forward in trimmed.items():
            layer.forward = forward
        model.train(training)
