"""Several optimizers over different parameters, as one."""

from __future__ import annotations

from typing import Any

import torch


class Combined(torch.optim.Optimizer):
    """Step all parts; groups and states are shared with them, not copied."""

    def __init__(self, *parts: torch.optim.Optimizer) -> None:
        self._parts = parts
        super().__init__([group for part in parts for group in part.param_groups], {})
        self._share()

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Take one step of every part; there is no closure to call."""
        for part in self._parts:
            part.step()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load groups and states of all parts."""
        super().load_state_dict(state_dict)
        self._share()

    def _share(self) -> None:
        """Give the parts this optimizer's groups and states."""
        begin = 0
        for part in self._parts:
            end = begin + len(part.param_groups)
            part.param_groups = self.param_groups[begin:end]
            part.state = self.state
            begin = end
