"""Memory that one pass over a pack writes into and the next pass uses again.

Fresh memory costs the CPU a page fault every 4 KiB, which for a pack's activations takes longer than
computing many of them. Not covered: giving memory back before the model is dropped.
"""

from __future__ import annotations

import math

import torch


class Buffers:
    """Named matrices of one pass; each grows to the largest that was asked for."""

    def __init__(self, dtype: torch.dtype) -> None:
        self._dtype = dtype
        self._flat: dict[str, torch.Tensor] = {}

    def __call__(self, name: str, *shape: int) -> torch.Tensor:
        """Return a matrix of this shape, holding whatever was last written under its name."""
        size = math.prod(shape)
        if name not in self._flat or self._flat[name].numel() < size:
            self._flat.pop(name, None)  # freed first, so that both never exist at once
            self._flat[name] = torch.empty(size, dtype=self._dtype)
        return self._flat[name][:size].view(shape)


class Pool:
    """Buffers that no pass is using. A pass that waits for its backward pass keeps its own."""

    def __init__(self, dtype: torch.dtype) -> None:
        self._dtype = dtype
        self._idle: list[Buffers] = []

    def __deepcopy__(self, memo: dict[int, object]) -> Pool:
        """Return an empty pool: a copy of a model makes its own passes."""
        return Pool(self._dtype)

    def take(self) -> Buffers:
        """Return buffers for one pass."""
        return self._idle.pop() if self._idle else Buffers(self._dtype)

    def give_back(self, buffers: Buffers) -> None:
        """Let the next pass overwrite these buffers."""
        self._idle.append(buffers)
