"""Memory that one pass over a pack writes into and the next pass uses again.

Fresh memory costs the CPU a page fault every 4 KiB, which for a pack's activations takes longer than
computing many of them. Not covered: giving memory back before the model is dropped.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch

_ALIGNED = 16
"""Numbers in a cache line, in fp32; matrices begin at its multiples."""


class Buffers:
    """Named matrices that one pass keeps; each grows to the largest that was asked for."""

    def __init__(self, dtype: torch.dtype) -> None:
        self._dtype = dtype
        self._flat: dict[tuple[str, torch.dtype], torch.Tensor] = {}

    def __call__(self, name: str, *shape: int, dtype: torch.dtype | None = None) -> torch.Tensor:
        """Return a matrix of this shape, holding whatever was last written under its name and format."""
        size, key = math.prod(shape), (name, dtype or self._dtype)
        if key not in self._flat or self._flat[key].numel() < size:
            self._flat.pop(key, None)  # freed first, so that both never exist at once
            self._flat[key] = _memory(size, key[1])
        return self._flat[key][:size].view(shape)


class Scratch:
    """Memory for what is forgotten soon: what is taken within a frame is free again when the frame ends.

    Frames lie within frames, so that one place holds what several steps need one after another. Until it
    has seen how much is needed at most, some of it is fresh memory.
    """

    def __init__(self, dtype: torch.dtype) -> None:
        self._flat = torch.empty(0, dtype=dtype)
        self._used = 0
        self._most = 0

    @contextmanager
    def frame(self) -> Iterator[None]:
        """Free at the end what is taken inside; nobody may hold it any longer then."""
        begin = self._used
        try:
            yield
        finally:
            self._used = begin
            if begin == 0 and self._most > self._flat.numel():
                dtype, self._flat = self._flat.dtype, self._flat.new_empty(0)  # freed before the next is made
                self._flat = _memory(self._most, dtype)

    def take(self, *shape: int, dtype: torch.dtype | None = None) -> torch.Tensor:
        """Return a matrix of this shape, holding anything; of a shorter format where one is named."""
        kind = dtype or self._flat.dtype
        begin, size = self._used, math.prod(shape)
        places = -(-size * kind.itemsize // self._flat.itemsize)
        self._used += -(-places // _ALIGNED) * _ALIGNED
        self._most = max(self._most, self._used)
        if self._used > self._flat.numel():
            return torch.empty(shape, dtype=kind)
        return self._flat[begin : begin + places].view(kind)[:size].view(shape)


class Pool:
    """Buffers that no pass is using. A pass that waits for its backward pass keeps its own."""

    def __init__(self, dtype: torch.dtype) -> None:
        self._dtype = dtype
        self._idle: list[Buffers] = []
        self.scratch = Scratch(dtype)
        """Of whichever pass is computing."""

    def __deepcopy__(self, memo: dict[int, object]) -> Pool:
        """Return an empty pool: a copy of a model makes its own passes."""
        return Pool(self._dtype)

    def take(self) -> Buffers:
        """Return buffers for one pass."""
        return self._idle.pop() if self._idle else Buffers(self._dtype)

    def give_back(self, buffers: Buffers) -> None:
        """Let the next pass overwrite these buffers."""
        self._idle.append(buffers)


def _memory(size: int, dtype: torch.dtype) -> torch.Tensor:
    # Training could not write into what inference mode makes.
    with torch.inference_mode(False):
        return torch.empty(size, dtype=dtype)
