"""What is looked at while a run goes on, and who is told. Nothing of it changes what is trained."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, SerializeAsAny, model_validator

from realm.core.config import Config
from realm.models.engines.endpoint import Service
from realm.training.alerts import Alerts
from realm.training.sink import SINKS

SinkConfig = Annotated[SerializeAsAny[Config], SINKS.part()]


class PreviewEndpoint(Service):
    """A service that answers for each saved checkpoint."""

    load_adapter: bool = False
    """Have it load each saved adapter first (vLLM, which must see the vault at the same path).

    The adapter is then asked under the checkpoint's content hash, and `model` is not used. Otherwise `model`
    answers, whatever the service makes of it.
    """


class Previews(Config):
    """Which prompts are answered, when and where."""

    prompts: tuple[str, ...] = ()
    """What the model is asked, each alone; none makes no previews."""
    every_steps: Annotated[int, Field(ge=1)] = 100
    """Steps of the run between two previews, where the training process makes them."""
    max_tokens: Annotated[int, Field(ge=1)] = 64
    """Longest answer; longer ones are cut, tokens."""
    temperature: Annotated[float, Field(ge=0)] = 0.0
    """0 takes the likeliest token; otherwise a preview draws the same numbers every time."""
    made_by: Literal["training", "checkpoint", "endpoint"] = "training"
    """The model itself between two steps, each saved checkpoint in a process of its own, or a service."""
    endpoint: PreviewEndpoint | None = None
    """The service, where it makes them."""

    @model_validator(mode="after")
    def _one_maker(self) -> Self:
        if (self.made_by == "endpoint") != (self.endpoint is not None):
            raise ValueError("made_by: endpoint needs an endpoint, and nothing else does")
        return self

    def due(self, step: int) -> bool:
        """Say whether the training process has to make previews after this step."""
        return bool(self.prompts) and self.made_by == "training" and step % self.every_steps == 0


class Watch(Config):
    """Trackers, alerts, figures of the layers, previews."""

    sinks: tuple[SinkConfig, ...] = ()
    """Trackers beside the ledger, which always keeps the figures: `jsonl`, `tensorboard`, …"""
    alerts: Alerts = Alerts()
    layers_every_steps: Annotated[int, Field(ge=1)] | None = 100
    """Steps between two measurements of each layer's norm, gradient and drift; none measures none."""
    previews: Previews = Previews()
