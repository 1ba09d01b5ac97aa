"""AdamW, with weight decay on matrices only and, on request, its moments in host memory."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Literal

from realm.training.optimizer import AdamSettings

if TYPE_CHECKING:
    import torch
    from peft import PeftModel
    from transformers import PreTrainedModel

_log = logging.getLogger(__name__)


class AdamW:
    """Step along decayed means of gradients and their squares (Loshchilov & Hutter 2019)."""

    class Config(AdamSettings):
        """AdamW with moments in fp32: 8 bytes a trained parameter."""

        kind: Literal["adamw"] = "adamw"
        offload: bool = False
        """Keep the moments in host memory: 8 bytes a trained parameter less on the GPU, slower steps."""

    def __init__(self, config: Config) -> None:
        self.config = config

    @property
    def learning_rate(self) -> float:
        """The full rate, which the schedule's factor multiplies."""
        return self.config.learning_rate

    @property
    def carry(self) -> bool:
        """Whether to go on with the moments of the checkpoint a run starts from."""
        return self.config.carry

    def build(self, model: PreTrainedModel | PeftModel) -> torch.optim.Optimizer:
        """Build the optimizer over all trainable parameters, fused."""
        import torch

        from realm.training.groups import decayed_groups, trainable
        from realm.training.offload import HostAdamW

        settings = self.config
        parameters = trainable(model)
        kind = HostAdamW if settings.offload else torch.optim.AdamW
        if settings.offload and all(parameter.device.type == "cpu" for parameter in parameters):
            _log.info("offload: the model itself is in host memory, so the moments are too")
            kind = torch.optim.AdamW
        groups = decayed_groups(parameters, settings.learning_rate, settings.weight_decay)
        return kind(groups, betas=settings.betas, eps=settings.eps, fused=True)
