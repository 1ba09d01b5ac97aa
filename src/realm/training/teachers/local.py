"""A teacher from a checkpoint folder on this machine, loaded beside the model in training."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from realm.core.config import Config as BaseConfig
from realm.core.errors import ConfigError
from realm.core.hashing import hash_json, short

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

    from realm.core.records import Example
    from realm.training.batching import Batch
    from realm.training.teacher import Scorer
    from realm.training.trainee import Trainee

_TRIED = 8
"""Tokens, spread over the vocabulary, on which the head is compared with the model."""
_TOLERANCE = 1e-3
"""Of the largest logit: the same products, so that even bf16 stays below it."""


class LocalTeacher:
    """Give a checkpoint's distribution at every token."""

    token_level: ClassVar[bool] = True

    class Config(BaseConfig):
        """Which checkpoint."""

        kind: Literal["local"] = "local"
        folder: str
        """Of safetensors and JSON files, with the vocabulary of the model that is trained."""

    def __init__(self, config: Config) -> None:
        self.config = config

    def check(self, example: Example) -> None:
        """Accept every row: its own tokens are what the teacher is asked about."""

    def open(self, trainee: Trainee) -> Scorer:
        """Load the teacher.

        Raises ConfigError where its vocabulary is another one, its context is too short, or it does more to
        its logits than its head does.
        """
        from realm.models import files
        from realm.models.adapters import text_config

        model, tokenizer = files.load(Path(self.config.folder))
        own, other = _vocabulary(trainee.tokenizer), _vocabulary(tokenizer)
        if own != other:
            raise ConfigError(
                f"the teacher {self.config.folder} speaks another vocabulary "
                f"({short(other)}, the model's is {short(own)})",
                hint="serve it and name it as a teacher of kind endpoint: then it teaches by its words",
            )
        ours, theirs = text_config(trainee.model), text_config(model)
        if ours.vocab_size != theirs.vocab_size:
            raise ConfigError(
                f"the teacher {self.config.folder} scores {theirs.vocab_size} tokens, "
                f"the model {ours.vocab_size}",
                hint="choose a teacher with as many rows in its output matrix",
            )
        if theirs.max_position_embeddings < trainee.max_tokens:
            raise ConfigError(
                f"the teacher {self.config.folder} reads {theirs.max_position_embeddings} tokens, "
                f"rows have up to {trainee.max_tokens}",
                hint="lower rules.max_tokens",
            )
        loaded = _Loaded(model.requires_grad_(False).to(trainee.device).eval())
        if not loaded.is_head_alone():
            raise ConfigError(
                f"the teacher {self.config.folder} scales or caps what its head gives ({theirs.model_type}), "
                f"so its distribution is not the one that would be learnt",
                hint="serve it and name it as a teacher of kind endpoint: then it teaches by its words",
            )
        return loaded


class _Loaded:
    def __init__(self, model: PreTrainedModel) -> None:
        self._model = model

    def hidden(self, batch: Batch) -> torch.Tensor:
        import torch

        from realm.training.unpacked import predictions_apart

        # Whether the teacher would leak in packs is not proven, so it never sees one.
        with torch.no_grad():
            return predictions_apart(self._model, batch)

    def logits(self, hidden_XD: torch.Tensor) -> torch.Tensor:
        import torch

        from realm.models.adapters import head

        with torch.no_grad():
            logits_XV: torch.Tensor = head(self._model)(hidden_XD)
            return logits_XV.float()

    def is_head_alone(self) -> bool:
        """Say whether the head on the last hidden states gives the model's own logits, on a few tokens."""
        import torch

        from realm.models.adapters import decoder, text_config

        ids_1T = torch.linspace(0, text_config(self._model).vocab_size - 1, _TRIED).long()[None]
        ids_1T = ids_1T.to(self._model.device)
        with torch.no_grad():
            own_TV = self._model(input_ids=ids_1T, use_cache=False).logits[0].float()
            hidden_TD = decoder(self._model)(input_ids=ids_1T, use_cache=False).last_hidden_state[0]
        apart_TV = self.logits(hidden_TD)
        return bool((apart_TV - own_TV).abs().max() <= _TOLERANCE * own_TV.abs().max())


def _vocabulary(tokenizer: PreTrainedTokenizerFast) -> str:
    return hash_json(tokenizer.get_vocab())
