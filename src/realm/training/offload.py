"""AdamW whose moments live in host memory and visit the parameters' device one at a time.

The arithmetic is that of torch's fused AdamW on the parameters' device, so that results are the
same. The device holds the moments of one parameter; each step moves 16 bytes a parameter in fp32.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.optim.adamw import adamw


class HostAdamW(torch.optim.AdamW):
    """Keep `exp_avg` and `exp_avg_sq` in host memory, pinned where there is a GPU."""

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Take one step over all parameters that have gradients; there is no closure to call."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._step_one(parameter, group)

    def _step_one(self, parameter: torch.nn.Parameter, group: dict[str, Any]) -> None:
        state = self.state[parameter]
        if not state:
            state.update(_fresh(parameter))
        visiting = {
            name: value.to(parameter.device, non_blocking=True, copy=True) for name, value in state.items()
        }
        adamw(
            [parameter],
            [parameter.grad],  # type: ignore[list-item]
            [visiting["exp_avg"]],
            [visiting["exp_avg_sq"]],
            [],
            [visiting["step"]],
            fused=True,
            amsgrad=False,
            beta1=group["betas"][0],
            beta2=group["betas"][1],
            lr=group["lr"],
            weight_decay=group["weight_decay"],
            eps=group["eps"],
            maximize=False,
        )
        for name, value in visiting.items():
            state[name].copy_(value)


def _fresh(parameter: torch.nn.Parameter) -> dict[str, torch.Tensor]:
    pinned = parameter.device.type == "cuda"
    zeros = {
        name: torch.zeros(parameter.shape, dtype=parameter.dtype, pin_memory=pinned)
        for name in ("exp_avg", "exp_avg_sq")
    }
    return {"step": torch.zeros((), dtype=torch.float32), **zeros}
