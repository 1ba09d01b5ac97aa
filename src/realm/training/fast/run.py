"""One forward pass over a pack, and what its backward pass needs.

Shapes: X tokens or places, D head size, M places that predict, N tokens, K ranks of adapters.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from realm.training.fast.attention import Rows
from realm.training.fast.buffers import Buffers, Scratch
from realm.training.fast.products import Products

Angles = tuple[torch.Tensor, torch.Tensor]
"""Cosine and sine of each token's position, (X, 1, D)."""


class Gradients:
    """Gradients of the trained parameters, summed over everything that uses them."""

    def __init__(self) -> None:
        self._found: dict[nn.Parameter, torch.Tensor] = {}

    def add(self, parameter: nn.Parameter, gradient: torch.Tensor) -> None:
        """Add a gradient that the caller will not touch again."""
        if parameter in self._found:
            self._found[parameter].add_(gradient)
        else:
            self._found[parameter] = gradient

    def pop(self, parameter: nn.Parameter) -> torch.Tensor | None:
        """Take out what was found, none where nothing was."""
        return self._found.pop(parameter, None)


@dataclass(slots=True)
class Run:
    """What all layers of one pass share."""

    rows: Rows
    angles: Angles
    places_M: torch.Tensor
    buffers: Buffers
    products: Products
    scales: dict[object, torch.Tensor] = field(default_factory=dict)
    """1 / rms of each row that a norm has seen."""
    low: dict[object, torch.Tensor] = field(default_factory=dict)
    """What a projection's adapters made of its input (N, K), where its forward pass computed it."""
    adapters: dict[object, list[Any]] = field(default_factory=dict)
    """A projection's adapters that were on in its forward pass."""
    gradients: Gradients = field(default_factory=Gradients)

    @property
    def scratch(self) -> Scratch:
        """Memory for what is forgotten soon."""
        return self.products.scratch
