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
        """Load the teacher. Raises ConfigError where its vocabulary is another one."""
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
        return _Loaded(model.requires_grad_(False).to(trainee.device).eval())


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


def _vocabulary(tokenizer: PreTrainedTokenizerFast) -> str:
    return hash_json(tokenizer.get_vocab())
