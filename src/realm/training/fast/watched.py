"""Modules that somebody else changed or listens to: computing past them would change what happens."""

from __future__ import annotations

from typing import Any

from torch import nn
from torch.nn.modules import module as every_module


def watched(module: nn.Module) -> bool:
    """Tell whether a module's forward pass was replaced or has hooks, its own or those of every module."""
    hooks: Any = module
    return bool(
        "forward" in module.__dict__
        or hooks._forward_hooks
        or hooks._forward_pre_hooks
        or hooks._backward_hooks
        or hooks._backward_pre_hooks
        or every_module._has_any_global_hook()  # type: ignore[no-untyped-call]
    )
