"""Modules that somebody else changed or listens to: computing past them would change what happens."""

from __future__ import annotations

from typing import Any

from torch import nn


def watched(module: nn.Module) -> bool:
    """Tell whether a module's forward pass was replaced or has hooks."""
    hooks: Any = module
    return bool(
        "forward" in module.__dict__
        or hooks._forward_hooks
        or hooks._forward_pre_hooks
        or hooks._backward_hooks
        or hooks._backward_pre_hooks
    )
