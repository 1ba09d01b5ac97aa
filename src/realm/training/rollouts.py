"""Answers sampled from the model in training, with the log-probability of every token.

Prompts of equal length form a batch without padding, so that models of any build sample rightly; a
prompt is read once for all of its answers. An answer depends on the weights, its prompt, its seed and
the batch it is in: equal calls on equal weights give equal answers on the CPU.

Shapes: P prompts of a batch, B answers being written, T tokens of each prompt, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import DynamicCache

from realm.core.errors import RefusedError
from realm.models.adapters import base_of, text_config
from realm.models.chat import Encoded
from realm.training.batching import Unit
from realm.training.method import Row
from realm.training.trainee import Trainee
from realm.training.unpacked import as_loaded

_BATCH_TOKENS = 32_768
"""Prompt and answer tokens of one batch; bounds the cache's memory."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """How answers are drawn."""

    max_tokens: int
    """Of an answer, its end token included."""
    temperature: float
    top_p: float


class Rollout(NamedTuple):
    """One answer."""

    ids: NDArray[np.int32]
    """Its tokens, at least one; the end token included where it was written."""
    log_probs: NDArray[np.float32]
    """Of each token, in nats, at the sampling temperature and before `top_p` cut anything off."""
    ended: bool
    """It ended by itself; otherwise it was cut off at the limit."""


def as_unit(row: Row, rollout: Rollout, **facts: float) -> Unit:
    """Return an answer behind its prompt, trained on the answer alone, with what is noted of it."""
    prompt = row.sequences[0].ids
    ids = np.concatenate([prompt, rollout.ids])
    weights = np.concatenate([np.zeros(len(prompt), np.float32), np.ones(len(rollout.ids), np.float32)])
    noted = {name: np.asarray([value], np.float32) for name, value in facts.items()}
    sequence = Encoded(ids, weights, turns=1, full_tokens=len(ids))
    return Unit((sequence,), row.index, {**noted, "log_probs": rollout.log_probs})


def sample(
    trainee: Trainee,
    prompts: Sequence[NDArray[np.int32]],
    seeds: Sequence[Sequence[int]],
    sampling: Sampling,
) -> list[list[Rollout]]:
    """Sample an answer to each prompt for each of its seeds; all prompts have equally many.

    Leaves weights, mode and random state as they are. Raises RefusedError where a prompt leaves no
    room for an answer.
    """
    room = trainee.max_tokens - max(len(prompt) for prompt in prompts)
    if room < 1:
        raise RefusedError(
            f"a prompt leaves no room for an answer in {trainee.max_tokens} tokens",
            hint="raise rules.max_tokens or leave long prompts out",
        )
    answers: list[list[Rollout]] = [[] for _ in prompts]
    with torch.no_grad(), as_loaded(trainee.model):
        trainee.model.eval()
        for batch in _batches(prompts, len(seeds[0]), sampling.max_tokens):
            ids_PT = torch.from_numpy(np.stack([prompts[p] for p in batch])).long().to(trainee.device)
            found = _write(trainee, ids_PT, [seeds[p] for p in batch], sampling)
            for p, rollouts in zip(batch, found, strict=True):
                answers[p] = rollouts
    return answers


def _batches(prompts: Sequence[NDArray[np.int32]], answers: int, max_tokens: int) -> Iterator[list[int]]:
    """Cut the prompts, those of equal length together, into batches bounded by tokens."""
    ordered = sorted(range(len(prompts)), key=lambda p: len(prompts[p]))
    for length, members in groupby(ordered, key=lambda p: len(prompts[p])):
        same = list(members)
        size = max(1, _BATCH_TOKENS // (answers * (length + max_tokens)))
        yield from (same[begin : begin + size] for begin in range(0, len(same), size))


def _write(
    trainee: Trainee, ids_PT: torch.Tensor, seeds: Sequence[Sequence[int]], sampling: Sampling
) -> list[list[Rollout]]:
    answers = len(seeds[0])
    ends = _end_ids(trainee)
    cache = DynamicCache(config=text_config(trainee.model))
    logits_PV = _forward(trainee, ids_PT, cache)
    spread = torch.arange(len(ids_PT), device=ids_PT.device).repeat_interleave(answers)
    cache.reorder_cache(spread)
    logits_BV, uniform_B = logits_PV[spread], _uniforms(seeds, sampling.max_tokens).to(ids_PT.device)
    writing = list(range(len(spread)))
    tokens: list[list[int]] = [[] for _ in writing]
    log_probs: list[list[float]] = [[] for _ in writing]
    limit = min(sampling.max_tokens, trainee.max_tokens - ids_PT.shape[1])
    for step in range(limit):
        log_p_BV = (logits_BV / sampling.temperature).log_softmax(-1)
        chosen_B = _draw(log_p_BV, uniform_B[writing, step], sampling.top_p)
        chosen_log_p_B = log_p_BV.gather(-1, chosen_B[:, None])[:, 0]
        drawn = zip(writing, chosen_B.tolist(), chosen_log_p_B.tolist(), strict=True)
        for answer, token, log_p in drawn:
            tokens[answer].append(token)
            log_probs[answer].append(log_p)
        going_on = [b for b, answer in enumerate(writing) if tokens[answer][-1] not in ends]
        if not going_on or step + 1 == limit:
            break
        if len(going_on) < len(writing):
            kept = torch.tensor(going_on, device=chosen_B.device)
            cache.reorder_cache(kept)
            writing, chosen_B = [writing[b] for b in going_on], chosen_B[kept]
        logits_BV = _forward(trainee, chosen_B[:, None], cache)
    written = [
        Rollout(np.asarray(ids, np.int32), np.asarray(found, np.float32), ids[-1] in ends)
        for ids, found in zip(tokens, log_probs, strict=True)
    ]
    return [written[begin : begin + answers] for begin in range(0, len(written), answers)]


def _forward(trainee: Trainee, ids_BT: torch.Tensor, cache: DynamicCache) -> torch.Tensor:
    """Return the logits behind the last token, (B, V) in fp32."""
    output = trainee.model(input_ids=ids_BT, past_key_values=cache, use_cache=True, logits_to_keep=1)
    logits_BV: torch.Tensor = output.logits[:, -1].float()
    return logits_BV


def _uniforms(seeds: Sequence[Sequence[int]], tokens: int) -> torch.Tensor:
    """One random number for each token that each answer may have, drawn from its seed."""
    sources = [torch.Generator().manual_seed(seed) for group in seeds for seed in group]
    return torch.stack([torch.rand(tokens, generator=source) for source in sources])


def _draw(log_p_BV: torch.Tensor, uniform_B: torch.Tensor, top_p: float) -> torch.Tensor:
    """Draw from the smallest set of likeliest tokens that holds `top_p` of the probability."""
    ordered_BV, token_BV = log_p_BV.exp().sort(dim=-1, descending=True, stable=True)
    ordered_BV = ordered_BV.masked_fill(ordered_BV.cumsum(-1) - ordered_BV >= top_p, 0.0)
    total_BV = ordered_BV.cumsum(-1)
    place_B1 = (total_BV <= uniform_B[:, None] * total_BV[:, -1:]).sum(-1, keepdim=True)
    # Rounding may put the target behind the last token that is left.
    last_B1 = (ordered_BV > 0).sum(-1, keepdim=True) - 1
    return token_BV.gather(-1, torch.minimum(place_B1, last_B1))[:, 0]


def _end_ids(trainee: Trainee) -> frozenset[int]:
    configured = getattr(base_of(trainee.model).generation_config, "eos_token_id", None)
    ends = configured if isinstance(configured, list) else [configured]
    return frozenset(i for i in [*ends, trainee.tokenizer.eos_token_id] if i is not None)
