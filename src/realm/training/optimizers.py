"""AdamW, with weight decay on matrices only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from realm.core.config import Config

if TYPE_CHECKING:
    import torch

_Share = Annotated[float, Field(ge=0, lt=1)]


class AdamW(Config):
    """Settings of AdamW (Loshchilov & Hutter 2019). The defaults are the vetted drill setting."""

    learning_rate: Annotated[float, Field(gt=0)] = 2e-3
    """The full rate, which the schedule's factor multiplies."""
    betas: tuple[_Share, _Share] = (0.9, 0.98)
    weight_decay: Annotated[float, Field(ge=0)] = 0.1
    """On matrices, embeddings included; never on norms and biases."""
    eps: Annotated[float, Field(gt=0)] = 1e-8
    carry: bool = True
    """Go on with the moments of the checkpoint a run starts from, where it has some."""

    def build(self, model: torch.nn.Module) -> torch.optim.AdamW:
        """Build the optimizer over all trainable parameters, fused."""
        import torch

        trainable = [p for p in model.parameters() if p.requires_grad]
        groups = [
            {"params": [p for p in trainable if p.ndim >= 2], "weight_decay": self.weight_decay},
            {"params": [p for p in trainable if p.ndim < 2], "weight_decay": 0.0},
        ]
        return torch.optim.AdamW(groups, lr=self.learning_rate, betas=self.betas, eps=self.eps, fused=True)
