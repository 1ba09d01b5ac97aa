"""Generate with the model's own modules: left-padded batches and a key-value cache.

Shapes: B prompts in a batch, T tokens, V vocabulary. Rows that have ended leave the batch.
`PreTrainedModel.generate` would do the same with several times the overhead on small models.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from realm.core.errors import DataError
from realm.core.records import Example, Message
from realm.core.seeds import seed as seed_of
from realm.models.adapters import text_config
from realm.models.chat import encode_many, end_ids, prompt_ids, template_hash
from realm.models.encodings import Encoded
from realm.models.files import Loaded
from realm.models.generator import Confidence, Said

if TYPE_CHECKING:
    import torch

    from realm.models.profile import LogitsProcessor

_IGNORED = -100
"""Marks a place that is not scored."""
_BATCH_TOKENS = 32_768
"""Prompt and answer tokens of one batch, padding included; bounds the cache's memory."""


@dataclass(frozen=True, slots=True)
class _Sampling:
    max_tokens: int
    temperature: float
    top_p: float
    seed: int


class _Heard:
    """Sums what the model thought of the tokens that were chosen, prompt by prompt."""

    def __init__(self, prompts: int) -> None:
        self._log_probability = [0.0] * prompts
        self._tokens = [0] * prompts

    def add(self, rows: list[int], logits_BV: torch.Tensor, next_B: torch.Tensor) -> None:
        """Take one step; `rows` are the prompts of the batch."""
        chosen_B = logits_BV.gather(-1, next_B[:, None])[:, 0] - logits_BV.logsumexp(-1)
        for index, value in zip(rows, chosen_B.tolist(), strict=True):
            self._log_probability[index] += value
            self._tokens[index] += 1

    def confidences(self) -> list[Confidence]:
        """Return the confidence in each answer."""
        return [
            Confidence(log_probability=min(0.0, summed), tokens=tokens)
            for summed, tokens in zip(self._log_probability, self._tokens, strict=True)
        ]


class Transformers:
    """Generate with a loaded transformers model, on whatever device it lies."""

    def __init__(self, loaded: Loaded, processors: Sequence[LogitsProcessor] = ()) -> None:
        """Take the model, and what changes its logits before a token is chosen (see `profile`)."""
        self._processors = tuple(processors)
        self._model = loaded.model.eval()
        self._tokenizer = loaded.tokenizer
        self._ends = _end_ids(loaded)
        self._context = int(text_config(loaded.model).max_position_embeddings)

    @property
    def description(self) -> dict[str, str]:
        """Say what generates: backend with version, dtype, device, template hash."""
        import transformers

        return {
            "backend": f"transformers {transformers.__version__}",
            "dtype": str(self._model.dtype).removeprefix("torch."),
            "device": self._model.device.type,
            "template": template_hash(self._tokenizer),
        }

    def generate(
        self,
        prompts: Sequence[Sequence[Message]],
        *,
        max_tokens: int,
        temperature: float = 0.0,
        top_p: float = 1.0,
        seed: int = 0,
    ) -> list[str]:
        """Return one answer a prompt, in order, without special tokens."""
        return self._answers(prompts, _Sampling(max_tokens, temperature, top_p, seed), None)

    def say(
        self,
        prompts: Sequence[Sequence[Message]],
        *,
        max_tokens: int,
        temperature: float = 0.0,
        top_p: float = 1.0,
        seed: int = 0,
    ) -> list[Said]:
        """Return one answer a prompt, in order, with how probable its tokens were."""
        heard = _Heard(len(prompts))
        texts = self._answers(prompts, _Sampling(max_tokens, temperature, top_p, seed), heard)
        return [
            Said(text=text, confidence=sure) for text, sure in zip(texts, heard.confidences(), strict=True)
        ]

    def _answers(
        self, prompts: Sequence[Sequence[Message]], sampling: _Sampling, heard: _Heard | None
    ) -> list[str]:
        ids = prompt_ids(self._tokenizer, prompts)
        answers: list[list[int]] = [[] for _ in prompts]
        for batch in _batches([len(row) for row in ids], sampling.max_tokens):
            for tokens in self._decode(ids, batch, sampling, heard):
                for index, token in tokens.items():
                    answers[index].append(token)
        return self._tokenizer.batch_decode(answers, skip_special_tokens=True) if answers else []

    def stream(
        self,
        messages: Sequence[Message],
        *,
        max_tokens: int,
        temperature: float = 0.0,
        top_p: float = 1.0,
        seed: int = 0,
    ) -> Iterator[str]:
        """Yield one answer in pieces, each at a whole character."""
        sampling = _Sampling(max_tokens, temperature, top_p, seed)
        ids = prompt_ids(self._tokenizer, [messages])
        written, answer = "", list[int]()
        for tokens in self._decode(ids, [0], sampling):
            answer.extend(tokens.values())
            text = self._tokenizer.decode(answer, skip_special_tokens=True)
            if not text.endswith("\ufffd") and len(text) > len(written):
                yield text[len(written) :]
                written = text
        text = self._tokenizer.decode(answer, skip_special_tokens=True)
        if len(text) > len(written):
            yield text[len(written) :]

    def loss(self, chats: Sequence[Sequence[Message]]) -> tuple[float, int]:
        """Return the summed cross-entropy of what the assistant says, nats, and over how many tokens."""
        rows, losses = self._losses(chats)
        return sum(losses), sum(row.trained_tokens for row in rows)

    def confidences(self, chats: Sequence[Sequence[Message]]) -> list[Confidence]:
        """Return how probable what the assistant says is in each chat, in order."""
        rows, losses = self._losses(chats)
        for row in rows:
            if row.full_tokens > len(row.ids):
                raise DataError(
                    f"{row.full_tokens} tokens do not fit into a context of {self._context}", file="chat"
                )
        return [
            Confidence(log_probability=min(0.0, -loss), tokens=row.trained_tokens)
            for row, loss in zip(rows, losses, strict=True)
        ]

    def _losses(self, chats: Sequence[Sequence[Message]]) -> tuple[Sequence[Encoded], list[float]]:
        """Return the rows and the summed cross-entropy of what the assistant says in each."""
        examples = [Example(messages=tuple(chat)) for chat in chats]
        rows = encode_many(self._tokenizer, examples, self._context)
        losses = [0.0] * len(rows)
        for batch in _batches([len(row.ids) for row in rows], 0):
            for index, loss in zip(batch, self._batch_losses([rows[i] for i in batch]), strict=True):
                losses[index] = loss
        return rows, losses

    def _batch_losses(self, rows: list[Encoded]) -> list[float]:
        """Padding stands behind the rows, where nothing that counts can see it."""
        import torch
        from torch.nn.functional import cross_entropy

        device, longest = self._model.device, max(len(row.ids) for row in rows)
        tokens_BT = torch.zeros(len(rows), longest, dtype=torch.long)
        trained_BT = torch.zeros(len(rows), longest, dtype=torch.bool)
        for b, row in enumerate(rows):
            tokens_BT[b, : len(row.ids)] = torch.from_numpy(row.ids)
            trained_BT[b, : len(row.ids)] = torch.from_numpy(row.trained)
        targets_BT = tokens_BT.masked_fill(~trained_BT, _IGNORED)[:, 1:].to(device)
        with torch.inference_mode():
            logits_BTV = self._model(input_ids=tokens_BT[:, :-1].to(device), use_cache=False).logits
            losses_BT = cross_entropy(
                logits_BTV.flatten(0, 1).float(),
                targets_BT.flatten(),
                ignore_index=_IGNORED,
                reduction="none",
            ).view_as(targets_BT)
        summed: list[float] = losses_BT.double().sum(-1).tolist()
        return summed

    def _decode(
        self, ids: list[list[int]], batch: list[int], sampling: _Sampling, heard: _Heard | None = None
    ) -> Iterator[dict[int, int]]:
        """Yield per step the next token of each prompt that has not ended, by prompt index.

        `heard` is told of every token that is chosen, end tokens too.
        """
        import torch
        from transformers import DynamicCache

        longest = max(len(ids[i]) for i in batch)
        if longest >= self._context:
            raise DataError(
                f"{longest} tokens leave no room for an answer in a context of {self._context}",
                file="prompt",
            )
        tokens_BT, mask_BT = _left_padded([ids[i] for i in batch], longest, self._model.device)
        written_BT = tokens_BT
        cache, rows = DynamicCache(config=self._model.config), list(batch)
        uniforms = _uniforms(rows, sampling) if sampling.temperature > 0 else None
        for step in range(min(sampling.max_tokens, self._context - longest)):
            logits_BV = raw_BV = self._forward(tokens_BT, mask_BT, cache)
            for processor in self._processors:
                logits_BV = processor(written_BT, logits_BV)
            if uniforms is None:
                next_B = logits_BV.argmax(-1)
            else:
                next_B = _sample(logits_BV, uniforms[:, step], sampling)
            if heard is not None:
                heard.add(rows, raw_BV, next_B)
            chosen = next_B.tolist()
            alive = [b for b, token in enumerate(chosen) if token not in self._ends]
            yield {rows[b]: chosen[b] for b in alive}
            if not alive:
                return
            if len(alive) < len(rows):
                keep = torch.tensor(alive, device=next_B.device)
                cache.batch_select_indices(keep)
                rows, next_B = [rows[b] for b in alive], next_B[keep]
                mask_BT = None if mask_BT is None else mask_BT[keep]
                written_BT = written_BT[keep]
                uniforms = None if uniforms is None else uniforms[alive]
            tokens_BT = next_B[:, None]
            if self._processors:
                written_BT = torch.cat([written_BT, tokens_BT], dim=1)
            if mask_BT is not None:
                mask_BT = torch.cat([mask_BT, mask_BT.new_ones(len(rows), 1)], dim=1)

    def _forward(self, tokens_BT: torch.Tensor, mask_BT: torch.Tensor | None, cache: object) -> torch.Tensor:
        import torch

        positions = None
        if mask_BT is not None:
            positions = (mask_BT.cumsum(-1) - 1).clamp(min=0)[:, -tokens_BT.shape[1] :]
        # Only around the forward pass: a generator must not leave a mode on in its caller.
        with torch.inference_mode():
            output = self._model(
                input_ids=tokens_BT,
                attention_mask=mask_BT,
                position_ids=positions,
                past_key_values=cache,
                use_cache=True,
                logits_to_keep=1,
            )
        logits_BV: torch.Tensor = output.logits[:, -1].float()
        return logits_BV


def _end_ids(loaded: Loaded) -> frozenset[int]:
    ends = getattr(loaded.model.generation_config, "eos_token_id", None)
    configured = ends if isinstance(ends, list) else [ends]
    return end_ids(loaded.tokenizer) | {i for i in configured if i is not None}


def _batches(lengths: list[int], max_tokens: int) -> Iterator[list[int]]:
    """Cut the prompts, shortest first, into batches bounded by tokens."""
    batch: list[int] = []
    for index in sorted(range(len(lengths)), key=lambda i: lengths[i]):
        if batch and (len(batch) + 1) * (lengths[index] + max_tokens) > _BATCH_TOKENS:
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch


def _left_padded(
    rows: list[list[int]], longest: int, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Return tokens and mask, both (B, T); no mask where all rows are equally long."""
    import torch

    tokens_BT = torch.tensor([[0] * (longest - len(row)) + row for row in rows], device=device)
    if all(len(row) == longest for row in rows):
        return tokens_BT, None
    mask = [[0] * (longest - len(row)) + [1] * len(row) for row in rows]
    return tokens_BT, torch.tensor(mask, device=device)


def _uniforms(rows: list[int], sampling: _Sampling) -> torch.Tensor:
    """One random number a step for each prompt, drawn from the seed and the prompt's index."""
    import torch

    drawn = []
    for index in rows:
        source = torch.Generator().manual_seed(seed_of("generate", sampling.seed, index))
        drawn.append(torch.rand(sampling.max_tokens, generator=source))
    return torch.stack(drawn)


def _sample(logits_BV: torch.Tensor, uniform_B: torch.Tensor, sampling: _Sampling) -> torch.Tensor:
    """Draw from the smallest set of likeliest tokens that holds `top_p` of the probability."""
    probability_BV = (logits_BV / sampling.temperature).softmax(-1)
    ordered_BV, token_BV = probability_BV.sort(dim=-1, descending=True, stable=True)
    total_BV = ordered_BV.cumsum(-1)
    ordered_BV = ordered_BV.masked_fill(total_BV - ordered_BV >= sampling.top_p, 0.0)
    total_BV = ordered_BV.cumsum(-1)
    target_B1 = uniform_B.to(total_BV)[:, None] * total_BV[:, -1:]
    place_B1 = (total_BV <= target_B1).sum(-1, keepdim=True).clamp(max=logits_BV.shape[-1] - 1)
    return token_BV.gather(-1, place_B1)[:, 0]
