"""Answers sampled from the model in training, with the log-probability of every token.

Prompts of similar length form a batch, the shorter ones filled up on the left with tokens that nothing
attends to; those of models that carry a state along the sequence (linear attention) only with prompts
of their own length. A prompt is read once for all of its answers. An answer depends on the weights, its
prompt and its seed, and in the last bits of its log-probabilities on the batch it is in: equal calls on
equal weights give equal answers on the CPU.

Shapes: P prompts of a batch, B answers being written, T tokens read at once, S tokens read so far,
V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import DynamicCache

from realm.core.errors import RefusedError
from realm.models.adapters import base_of, text_config
from realm.models.encodings import Encoded
from realm.training.batching import Unit
from realm.training.method import Row
from realm.training.trainee import Trainee
from realm.training.unpacked import as_loaded

_BATCH_TOKENS = 32_768
"""Prompt and answer tokens of one batch, filled places included; bounds the cache's memory."""
_FILLED = 2
"""A place in a batch is at most so many times as long as the prompt and answer it is for."""


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


def as_unit(row: Row, rollout: Rollout, *, silent: bool = False, **facts: float) -> Unit:
    """Return an answer behind its prompt, trained on the answer alone, with what is noted of it."""
    prompt = row.sequences[0].ids
    ids = np.concatenate([prompt, rollout.ids])
    weights = np.concatenate([np.zeros(len(prompt), np.float32), np.ones(len(rollout.ids), np.float32)])
    noted = {name: np.asarray([value], np.float32) for name, value in facts.items()}
    sequence = Encoded(ids, weights, turns=1, full_tokens=len(ids))
    return Unit((sequence,), row.index, {**noted, "log_probs": rollout.log_probs}, silent)


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
    alike = 1 if base_of(trainee.model)._is_stateful else _FILLED
    with torch.no_grad(), as_loaded(trainee.model):
        trainee.model.eval()
        for batch in _batches(prompts, len(seeds[0]), sampling.max_tokens, alike):
            found = _write(trainee, [prompts[p] for p in batch], [seeds[p] for p in batch], sampling)
            for p, rollouts in zip(batch, found, strict=True):
                answers[p] = rollouts
    return answers


def _batches(
    prompts: Sequence[NDArray[np.int32]], answers: int, max_tokens: int, alike: int
) -> Iterator[list[int]]:
    """Cut the prompts, shortest first, into batches bounded by tokens and by what is filled up.

    Places are at most `alike` times as long as what they are for; 1 for equal lengths alone.
    """
    batch: list[int] = []
    for p in sorted(range(len(prompts)), key=lambda p: len(prompts[p])):
        place = len(prompts[p]) + max_tokens
        full = (len(batch) + 1) * answers * place > _BATCH_TOKENS
        if batch and (full or place > alike * (len(prompts[batch[0]]) + max_tokens)):
            yield batch
            batch = []
        batch.append(p)
    yield batch


def _write(
    trainee: Trainee,
    prompts: Sequence[NDArray[np.int32]],
    seeds: Sequence[Sequence[int]],
    sampling: Sampling,
) -> list[list[Rollout]]:
    answers, ends = len(seeds[0]), _end_ids(trainee)
    reader = _Reader(trainee, prompts)
    spread = torch.arange(len(prompts), device=trainee.device).repeat_interleave(answers)
    logits_BV = reader.read_prompts()[spread]
    reader.keep(spread)
    uniform_B = _uniforms(seeds, sampling.max_tokens).to(trainee.device)
    rooms = [min(sampling.max_tokens, trainee.max_tokens - len(prompts[p])) for p in spread.tolist()]
    writing = list(range(len(spread)))
    tokens: list[list[int]] = [[] for _ in writing]
    log_probs: list[list[float]] = [[] for _ in writing]
    for step in range(max(rooms)):
        log_p_BV = (logits_BV / sampling.temperature).log_softmax(-1)
        chosen_B = _draw(log_p_BV, uniform_B[writing, step], sampling.top_p)
        chosen_log_p_B = log_p_BV.gather(-1, chosen_B[:, None])[:, 0]
        drawn = zip(writing, chosen_B.tolist(), chosen_log_p_B.tolist(), strict=True)
        for answer, token, log_p in drawn:
            tokens[answer].append(token)
            log_probs[answer].append(log_p)
        going_on = [
            b
            for b, answer in enumerate(writing)
            if tokens[answer][-1] not in ends and len(tokens[answer]) < rooms[answer]
        ]
        if not going_on:
            break
        if len(going_on) < len(writing):
            kept = torch.tensor(going_on, device=chosen_B.device)
            reader.keep(kept)
            writing, chosen_B = [writing[b] for b in going_on], chosen_B[kept]
        logits_BV = reader.read(chosen_B[:, None])
    written = [
        Rollout(np.asarray(ids, np.int32), np.asarray(found, np.float32), ids[-1] in ends)
        for ids, found in zip(tokens, log_probs, strict=True)
    ]
    return [written[begin : begin + answers] for begin in range(0, len(written), answers)]


class _Reader:
    """What the model has read of a batch: keys and values, and which places were only filled up."""

    def __init__(self, trainee: Trainee, prompts: Sequence[NDArray[np.int32]]) -> None:
        self._model = trainee.model
        self._cache = DynamicCache(config=text_config(trainee.model))
        longest = max(len(prompt) for prompt in prompts)
        ids_PT = np.zeros((len(prompts), longest), np.int64)
        seen_PT = np.zeros((len(prompts), longest), np.int64)
        for p, prompt in enumerate(prompts):
            ids_PT[p, longest - len(prompt) :] = prompt
            seen_PT[p, longest - len(prompt) :] = 1
        self._prompts_PT = torch.from_numpy(ids_PT).to(trainee.device)
        # Without filled places nothing is masked, which is faster.
        self._seen_BS = None if seen_PT.all() else torch.from_numpy(seen_PT).to(trainee.device)

    def read_prompts(self) -> torch.Tensor:
        """Read the prompts; return the logits behind each, (P, V) in fp32."""
        return self._forward(self._prompts_PT)

    def read(self, ids_BT: torch.Tensor) -> torch.Tensor:
        """Read tokens behind what was read; return the logits behind the last, (B, V) in fp32."""
        if self._seen_BS is not None:
            self._seen_BS = torch.cat([self._seen_BS, torch.ones_like(ids_BT)], dim=1)
        return self._forward(ids_BT)

    def keep(self, members: torch.Tensor) -> None:
        """Go on with these members of the batch, in this order; one may be there several times."""
        self._cache.reorder_cache(members)
        if self._seen_BS is not None:
            self._seen_BS = self._seen_BS[members]

    def _forward(self, ids_BT: torch.Tensor) -> torch.Tensor:
        filled = {}
        if self._seen_BS is not None:
            positions_BS = (self._seen_BS.cumsum(-1) - 1).clamp(min=0)
            filled = {
                "attention_mask": self._seen_BS,
                "position_ids": positions_BS[:, -ids_BT.shape[1] :],
            }
        output = self._model(
            input_ids=ids_BT, past_key_values=self._cache, use_cache=True, logits_to_keep=1, **filled
        )
        logits_BV: torch.Tensor = output.logits[:, -1].float()
        return logits_BV


def _uniforms(seeds: Sequence[Sequence[int]], tokens: int) -> torch.Tensor:
    """One random number for each token that each answer may have, drawn from its seed."""
    sources = [torch.Generator().manual_seed(seed) for group in seeds for seed in group]
    return torch.stack([torch.rand(tokens, generator=source) for source in sources])


def _draw(log_p_BV: torch.Tensor, uniform_B: torch.Tensor, top_p: float) -> torch.Tensor:
    """Draw from the smallest set of likeliest tokens that holds `top_p` of the probability."""
    p_BV = log_p_BV.exp()
    if top_p == 1:  # of a large vocabulary, the order takes longer than the model
        return _place(p_BV, uniform_B)
    ordered_BV, token_BV = p_BV.sort(dim=-1, descending=True, stable=True)
    ordered_BV = ordered_BV.masked_fill(ordered_BV.cumsum(-1) - ordered_BV >= top_p, 0.0)
    return token_BV.gather(-1, _place(ordered_BV, uniform_B)[:, None])[:, 0]


def _place(p_BV: torch.Tensor, uniform_B: torch.Tensor) -> torch.Tensor:
    """Return the index at which the running sum passes a share of the whole."""
    total_BV = p_BV.cumsum(-1)
    whole_B1 = total_BV[:, -1:].contiguous()
    place_B1 = torch.searchsorted(total_BV, uniform_B[:, None] * whole_B1, right=True)
    # Rounding may put the target behind the last index of any probability.
    return torch.minimum(place_B1, torch.searchsorted(total_BV, whole_B1))[:, 0]


def _end_ids(trainee: Trainee) -> frozenset[int]:
    configured = getattr(base_of(trainee.model).generation_config, "eos_token_id", None)
    ends = configured if isinstance(configured, list) else [configured]
    return frozenset(i for i in [*ends, trainee.tokenizer.eos_token_id] if i is not None)
