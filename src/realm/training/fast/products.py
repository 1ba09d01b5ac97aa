"""Matrix products, of the matrices as they are or of what rounding them to a shorter format leaves.

A CPU with bf16 instructions multiplies bf16 more than twice as fast as fp32. So under autocast the two
sides of a product are rounded, and so is its result; sums within it are fp32, and all that lies
between products (norms, rotations, attention, softmax, the sum that runs through the layers) keeps its
format, where plain autocast rounds part of it too.

Not covered: fp16, whose range would need loss scaling.

Shapes: N rows, I inputs, O outputs.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from realm.training.fast.buffers import Scratch


def exactly() -> torch.autocast:
    """Return a context in which autocast changes nothing: what is rounded is said below."""
    return torch.autocast("cpu", enabled=False)


def supported() -> bool:
    """Tell whether the format that autocast asks for, if any, is one that is multiplied in here."""
    return not torch.is_autocast_enabled("cpu") or torch.get_autocast_dtype("cpu") is torch.bfloat16


def kept_in(weights: torch.dtype) -> torch.dtype:
    """Return the format of everything between products; frozen weights may be held in a shorter one."""
    return torch.float32 if weights is torch.bfloat16 else weights


def asked_for(kept_in: torch.dtype) -> torch.dtype:
    """Return the format in which to multiply matrices kept in this one."""
    # Autocast leaves fp64 alone.
    rounds = torch.is_autocast_enabled("cpu") and kept_in is torch.float32
    return torch.get_autocast_dtype("cpu") if rounds else kept_in


class Products:
    """Products of matrices kept in one format and multiplied in the same or a shorter one.

    A weight of another format than that of products is brought to it at each pass.
    """

    def __init__(self, scratch: Scratch, kept_in: torch.dtype, multiplied_in: torch.dtype) -> None:
        self.scratch = scratch
        self._kept_in, self._multiplied_in = kept_in, multiplied_in

    @property
    def rounds(self) -> bool:
        """Tell whether the two sides of a product are rounded."""
        return self._multiplied_in is not self._kept_in

    def side(self, x_NI: torch.Tensor) -> torch.Tensor:
        """Return x as one side of a product: itself, or rounded, in scratch memory of the caller's frame."""
        if x_NI.dtype is self._multiplied_in:
            return x_NI
        if not x_NI.is_contiguous() and x_NI.t().is_contiguous():  # transposed: rounded as it lies
            return self.side(x_NI.t()).t()
        return self.room(*x_NI.shape).copy_(x_NI)

    def room(self, *shape: int) -> torch.Tensor:
        """Return scratch memory of the caller's frame, for one side of a product."""
        return self.scratch.take(*shape, dtype=self._multiplied_in)

    def write(
        self,
        left_NI: torch.Tensor,
        right_IO: torch.Tensor,
        out_NO: torch.Tensor,
        onto_NO: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Write left · right, plus `onto_NO`, which may be the output's memory; return the output."""
        with self.scratch.frame():
            left_NI, right_IO = self.side(left_NI), self.side(right_IO)
            if not self.rounds:
                # At beta 0 what it is added to plays no part.
                onto, beta = (out_NO, 0) if onto_NO is None else (onto_NO, 1)
                return torch.addmm(onto, left_NI, right_IO, beta=beta, out=out_NO)
            found_NO = torch.mm(left_NI, right_IO, out=self.room(*out_NO.shape))
            if onto_NO is None:
                return out_NO.copy_(found_NO)
            # Adding numbers of two formats is slower than bringing them to one before.
            return torch.add(onto_NO, self.scratch.take(*out_NO.shape).copy_(found_NO), out=out_NO)

    def joined(self, parts: Sequence[torch.Tensor], dimension: int) -> torch.Tensor:
        """Return a side made of several, beside each other (1) or below (0), in memory as above."""
        shape = [*parts[0].shape]
        shape[dimension] = sum(part.shape[dimension] for part in parts)
        return torch.cat([self.side(part) for part in parts], dimension, out=self.room(*shape))

    def new(self, left_NI: torch.Tensor, right_IO: torch.Tensor) -> torch.Tensor:
        """Return left · right in memory of its own."""
        out_NO = torch.empty(len(left_NI), right_IO.shape[1], dtype=self._kept_in)
        return self.write(left_NI, right_IO, out_NO)
