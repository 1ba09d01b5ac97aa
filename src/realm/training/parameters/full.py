"""Train the model's own parameters: all of the text part but what is protected or frozen on request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from realm.training.parameter import ParametersConfig

if TYPE_CHECKING:
    from pathlib import Path

    from peft import PeftModel
    from transformers import PreTrainedModel


class Full:
    """Train every parameter of the text model; routers and vision parameters stay as they are."""

    class Config(ParametersConfig):
        """What else stays as it is."""

        kind: Literal["full"] = "full"
        freeze: tuple[str, ...] = ()
        """Names of parameters or modules that are not trained, their endings, or patterns (`*`, `?`)."""

    def __init__(self, config: Config) -> None:
        self.config = config

    @property
    def frozen(self) -> tuple[str, ...]:
        """No adapter lies under a whole model."""
        return ()

    def apply(self, model: PreTrainedModel | PeftModel, seed: int) -> PreTrainedModel:
        """Return the model with `requires_grad` set; an adapter it carries is merged first.

        Nothing is drawn. Raises ConfigError where a pattern matches nothing, or nothing is left.
        """
        from realm.core.errors import ConfigError
        from realm.models.adapters import merge_adapter
        from realm.training.selection import matching, protected

        plain = merge_adapter(model)
        names = [name for name, _ in plain.named_parameters()]
        kept = set(protected(plain, names))
        for pattern in self.config.freeze:
            kept.update(matching(pattern, names, where="parameters.freeze", whole_modules=True))
        for name, parameter in plain.named_parameters():
            parameter.requires_grad_(name not in kept)
        if len(kept) == len(names):
            raise ConfigError("parameters.freeze: nothing is left to train", hint="freeze less")
        return plain

    def continues(self, folder: Path) -> bool:
        """Say no: an adapter is merged into the weights."""
        return False

    def trained(self, model: PreTrainedModel | PeftModel) -> list[str]:
        """Return the names of the parameters that an applied model trains."""
        return [name for name, parameter in model.named_parameters() if parameter.requires_grad]
