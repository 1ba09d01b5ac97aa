"""What is looked at while a run goes on, and who is told. Nothing of it changes what is trained."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, Field, SerializeAsAny

from realm.core.config import Config
from realm.training.alerts import Alerts
from realm.training.previews import Previews
from realm.training.sink import SINKS

SinkConfig = Annotated[SerializeAsAny[Config], BeforeValidator(SINKS.config)]


class Watch(Config):
    """Trackers, alerts, figures of the layers, previews."""

    sinks: tuple[SinkConfig, ...] = ()
    """Trackers beside the ledger, which always keeps the figures: `jsonl`, `tensorboard`, …"""
    alerts: Alerts = Alerts()
    layers_every_steps: Annotated[int, Field(ge=1)] | None = 100
    """Steps between two measurements of each layer's norm, gradient and drift; none measures none."""
    previews: Previews = Previews()
