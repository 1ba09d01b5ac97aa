"""AdamW whose moments are stored in 8 bits, in blocks with a scale each (Dettmers et al. 2022).

Two bytes of moments a parameter instead of eight; tensors of fewer than 4096 values keep theirs in
fp32. Runs on CUDA GPUs and on x86 CPUs, where it is slower than `adamw`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from realm.training.optimizer import AdamSettings

if TYPE_CHECKING:
    import torch
    from peft import PeftModel
    from transformers import PreTrainedModel


class AdamW8bit:
    """Step as AdamW does, with moments of 8 bits."""

    class Config(AdamSettings):
        """AdamW with moments of 8 bits, by bitsandbytes: 2 bytes a trained parameter instead of 8."""

        kind: Literal["adamw8bit"] = "adamw8bit"

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
        """Build the optimizer. Raises MissingExtraError without bitsandbytes."""
        from realm.training.quantised import adamw8bit

        return adamw8bit(model, self.config, paged=False)
