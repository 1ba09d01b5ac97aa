"""AdamW in 8 bits whose moments move to host memory when the GPU's runs out (Dettmers et al. 2023).

The driver moves pages of them there and back, so that a rare long row does not end the run. On a
CPU there is nothing to page: refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from realm.core.errors import RefusedError
from realm.training.optimizer import AdamSettings

if TYPE_CHECKING:
    import torch
    from peft import PeftModel
    from transformers import PreTrainedModel


class PagedAdamW8bit:
    """Step as AdamW does, with pageable moments of 8 bits."""

    class Config(AdamSettings):
        """`adamw8bit` whose moments move to host memory when a CUDA GPU's is full; not on a CPU."""

        kind: Literal["paged_adamw8bit"] = "paged_adamw8bit"

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
        """Build the optimizer. Raises RefusedError on a CPU, MissingExtraError without bitsandbytes."""
        from realm.training.quantised import adamw8bit

        if model.device.type != "cuda":
            raise RefusedError(
                f"optimizer paged_adamw8bit: pages moments of a GPU, the model is on {model.device.type}",
                hint="use adamw8bit or adamw here",
            )
        return adamw8bit(model, self.config, paged=True)
