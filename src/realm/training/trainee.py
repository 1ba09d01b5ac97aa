"""The model in training, as methods see it: packs in, losses and log-probabilities out.

Shapes: M trained tokens of a pack, C hidden size, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from realm.models import files
from realm.models.adapters import base_of, decoder, read_base, without_adapter
from realm.training import fast, forward
from realm.training.attention import PACKED, use_packed
from realm.training.batching import Batch
from realm.training.pieces import read_logits
from realm.training.trimming import trim_last_layer


@dataclass
class Trainee:
    """A model that is set up for packs, with what belongs to it."""

    model: PreTrainedModel
    """The model whose parameters are trained; a PEFT model where an adapter is."""
    tokenizer: PreTrainedTokenizerFast
    device: torch.device
    seed: int
    """The run's; whatever is drawn comes from `seeds.seed(purpose, seed, step, …)`."""
    origin: Path
    """Folder of the checkpoint that the run began from, also after it was resumed."""
    max_tokens: int
    """The longest sequence that may be trained or generated."""
    frozen: PreTrainedModel | None = field(default=None)
    """The model that the run began with, where switching an adapter off does not give it."""

    def cross_entropy(self, batch: Batch, weights_M: torch.Tensor) -> torch.Tensor:
        """Return the weighted sum of cross-entropies in nats, a scalar that carries gradients."""
        hidden_MC = forward.predictions(self.model, batch)
        return forward.cross_entropy_sum(self.model, hidden_MC, batch.targets_M, weights_M)

    def log_probs(self, batch: Batch) -> torch.Tensor:
        """Return log p of each trained token (M,), in nats, with gradients."""
        return forward.token_log_probs(self.model, batch)

    def read_logits(
        self, batch: Batch, read: Callable[..., torch.Tensor], *others: torch.Tensor
    ) -> torch.Tensor:
        """Return `read(logits_XV, *others)` of all trained tokens, with gradients, in bounded memory."""
        return read_logits(self.model, read, forward.predictions(self.model, batch), *others)

    def reference_log_probs(self, batch: Batch) -> torch.Tensor:
        """Return log p of each trained token (M,) under the model the run began with.

        To be called before the pass that carries gradients: a fast path keeps one pass's activations.
        """
        with self.reference() as model:
            return forward.token_log_probs(model, batch)

    def keep_reference(self) -> None:
        """Load the model the run began with, unless switching the adapter off gives it."""
        fresh_adapter = base_of(self.model) is not self.model and read_base(self.origin) is None
        if self.frozen is None and not fresh_adapter:
            model = files.load(self.origin).model.requires_grad_(False)
            self.frozen = _set_up_like(self.model, model.to(self.device, self.model.dtype))

    @contextmanager
    def reference(self) -> Iterator[PreTrainedModel]:
        """Give the model the run began with, without gradients; `keep_reference` has to come first."""
        with torch.no_grad():
            if self.frozen is not None:
                yield self.frozen
                return
            with without_adapter(self.model):
                yield self.model


def _set_up_like(trained: PreTrainedModel, model: PreTrainedModel) -> PreTrainedModel:
    """Let the model run in packs where the trained one does, and one by one where it does not."""
    inner: Any = decoder(trained)
    if inner.config._attn_implementation == PACKED:
        use_packed(model)
        if not fast.fit(model):
            trim_last_layer(model)
    return model.eval()
