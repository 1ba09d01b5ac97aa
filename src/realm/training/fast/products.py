"""Matrix products, of the matrices as they are or of what rounding them to a shorter format leaves.

A CPU with bf16 instructions multiplies bf16 more than twice as fast as fp32. So under autocast the two
sides of a product are rounded, and so is its result; sums within it are fp32. What lies between products
(norms, rotations, attention, softmax, the sum that runs through the layers) keeps its format, where plain
autocast rounds part of it too; but for SwiGLU, which lies between two rounded matrices.

For each size of a bf16 product the CPU's library makes half a megabyte of machine code and keeps the last
thousand of them, and every pack has another number of rows. So rows are multiplied in pieces of a few
sizes, the last one filled up with zeros.

Not covered: fp16, whose range would need loss scaling.

Shapes: N rows, X of a piece, I inputs, O outputs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch

from realm.training.fast.buffers import Scratch

PIECES = (1024, 256, 128)
"""Rows that are multiplied at once under rounding."""


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


def multiply(
    left_NI: torch.Tensor, right_IO: torch.Tensor, out_NO: torch.Tensor, bias_O: torch.Tensor | None = None
) -> torch.Tensor:
    """Write left · right, plus a bias, all of one format, in pieces where that is bf16; return it."""
    if left_NI.dtype is not torch.bfloat16:
        return _product(left_NI, right_IO, out_NO, bias_O)
    for rows in _pieces(len(left_NI)):
        left_XI, into_XO = filled(left_NI[rows]), out_NO[rows]
        if len(left_XI) == len(into_XO):
            _product(left_XI, right_IO, into_XO, bias_O)
        else:
            room_XO = into_XO.new_empty(len(left_XI), into_XO.shape[1])
            into_XO.copy_(_product(left_XI, right_IO, room_XO, bias_O)[: len(into_XO)])
    return out_NO


def add_over_rows(
    left_NO: torch.Tensor, right_NI: torch.Tensor, into_OI: torch.Tensor, room_OI: torch.Tensor, *, add: bool
) -> None:
    """Write leftᵀ · right of rounded sides, or add it to what is there, by way of a rounded `room`."""
    for rows in _pieces(len(left_NO)):
        torch.mm(filled(left_NO[rows]).t(), filled(right_NI[rows]), out=room_OI)
        into_OI.add_(room_OI) if add or rows.start else into_OI.copy_(room_OI)


class Products:
    """Products of matrices kept in one format and multiplied in the same or a shorter one.

    A weight of another format than that of products is brought to it at each pass.
    """

    def __init__(self, scratch: Scratch, kept_in: torch.dtype, multiplied_in: torch.dtype) -> None:
        self.scratch = scratch
        self.multiplied_in = multiplied_in
        self._kept_in = kept_in

    @property
    def rounds(self) -> bool:
        """Tell whether the two sides of a product are rounded."""
        return self.multiplied_in is not self._kept_in

    def room(self, *shape: int) -> torch.Tensor:
        """Return memory for one side of a product, of the caller's frame."""
        return self.scratch.take(*shape, dtype=self.multiplied_in)

    def side(self, x_NI: torch.Tensor) -> torch.Tensor:
        """Return x as one side of a product: itself, or rounded, in memory as above."""
        return x_NI if x_NI.dtype is self.multiplied_in else self.room(*x_NI.shape).copy_(x_NI)

    def beside(self, parts: Sequence[torch.Tensor]) -> torch.Tensor:
        """Return parts beside each other as one side (N, I), in memory as above."""
        if len(parts) == 1:
            return self.side(parts[0])
        widths = [part.shape[1] for part in parts]
        joined_NI = self.room(len(parts[0]), sum(widths))
        for into_NX, part_NX in zip(torch.split(joined_NI, widths, 1), parts, strict=True):
            into_NX.copy_(part_NX)
        return joined_NI

    def exact(self, x: torch.Tensor) -> torch.Tensor:
        """Return x in the format of all that lies between products: itself, or a copy in memory as above."""
        return x if x.dtype is self._kept_in else self.scratch.take(*x.shape).copy_(x)

    def write(
        self,
        left_NI: torch.Tensor,
        right_IO: torch.Tensor,
        out_NO: torch.Tensor,
        onto_NO: torch.Tensor | None = None,
        bias_O: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Write left · right, plus a bias and `onto_NO`, which may be the output's memory; return the output.

        The output is of either format; of the exact one where it is added onto something.
        """
        with self.scratch.frame():
            left_NI, right_IO = self.side(left_NI), self.side(right_IO)
            if not self.rounds:
                # At beta 0 what it is added to plays no part.
                onto, beta = (out_NO, 0) if onto_NO is None else (onto_NO, 1)
                torch.addmm(onto, left_NI, right_IO, beta=beta, out=out_NO)
                return out_NO if bias_O is None else out_NO.add_(bias_O)
            if out_NO.dtype is self.multiplied_in:
                return multiply(left_NI, right_IO, out_NO, bias_O)
            found_NO = multiply(left_NI, right_IO, self.room(*out_NO.shape), bias_O)
            if onto_NO is None:
                return out_NO.copy_(found_NO)
            # Adding numbers of two formats is slower than bringing them to one before.
            return torch.add(onto_NO, self.exact(found_NO), out=out_NO)

    def next_side(self, left_NI: torch.Tensor, right_IO: torch.Tensor) -> torch.Tensor:
        """Return left · right as one side of another product, in memory of the caller's frame."""
        return self.write(left_NI, right_IO, self.room(len(left_NI), right_IO.shape[1]))

    def over_rows(self, left_NO: torch.Tensor, right_NI: torch.Tensor) -> torch.Tensor:
        """Return leftᵀ · right (O, I) in memory of its own: a weight's gradient."""
        with self.scratch.frame():
            left_NO, right_NI = self.side(left_NO), self.side(right_NI)
            if not self.rounds:
                return torch.mm(left_NO.t(), right_NI)
            shape = (left_NO.shape[1], right_NI.shape[1])
            found_OI = torch.zeros(shape, dtype=self._kept_in)
            add_over_rows(left_NO, right_NI, found_OI, self.room(*shape), add=False)
        return found_OI


def _product(
    left_NI: torch.Tensor, right_IO: torch.Tensor, out_NO: torch.Tensor, bias_O: torch.Tensor | None
) -> torch.Tensor:
    if bias_O is None:
        return torch.mm(left_NI, right_IO, out=out_NO)
    return torch.addmm(bias_O, left_NI, right_IO, out=out_NO)


def _pieces(count: int) -> Iterator[slice]:
    """Cut rows into pieces, as large ones as there are."""
    begin = 0
    while begin < count:
        size = next((size for size in PIECES if size <= count - begin), count - begin)
        yield slice(begin, begin + size)
        begin += size


def filled(x_XI: torch.Tensor) -> torch.Tensor:
    """Return rows with zeros behind them, up to whole pieces."""
    missing = -len(x_XI) % PIECES[-1]
    return torch.nn.functional.pad(x_XI, (0, 0, 0, missing)) if missing else x_XI
