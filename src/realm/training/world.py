"""The processes that train one run together: one alone here, several under `distributed`.

Every process draws the same rows and takes its share of a step's units. Sums over the step's
units are made whole by `total`, gradients by `reduce_gradients`; what is saved is `gathered`.
What takes the model to make units is shared by rows and `pooled`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple, Protocol, TypeVar

import torch
from peft import PeftModel
from transformers import PreTrainedModel

from realm.training.batching import Unit
from realm.training.method import Row
from realm.training.saving import Snapshot, capture

T = TypeVar("T")


class Round(NamedTuple):
    """One pack's turn in a step."""

    units: list[Unit]
    factor: float
    """1; or 0 where the pack is only computed because the other processes wait for it."""


class World(Protocol):
    """What the engine needs of the other processes.

    Every method but `share` is called by all processes, in the same order.
    """

    rank: int
    """This process's number, from 0; only 0 tells events and writes."""
    size: int
    whole: bool
    """Whether this process holds all of the model, not a share: the fast way reads whole weights."""

    def loading(self) -> AbstractContextManager[None]:
        """Wait until this process may load the model into the machine's memory; enter it inside of this."""
        ...

    def enter(self, model: PreTrainedModel | PeftModel) -> PreTrainedModel | PeftModel:
        """Bring a model from the machine's memory to the device, ready for training together.

        Whatever changes its parameters or their format comes before, whatever computes with it after.
        """
        ...

    def share(self, units: Sequence[Unit]) -> list[Unit]:
        """Return this process's part of a step; possibly none."""
        ...

    def rounds(self, packs: Iterable[Sequence[Unit]], units: Sequence[Unit]) -> list[Round]:
        """Return the packs to compute, at least one; `units` are those of the whole step."""
        ...

    def passes(self, wanted: int) -> int:
        """Return how many passes of the decoder a pack takes here, at least as many as it needs."""
        ...

    def run(self, compute: Callable[[], T]) -> T:
        """Run a computation that reads the model's weights; a `Loss` may be gone back from."""
        ...

    def run_unevenly(self, compute: Callable[[], T]) -> T:
        """Run a computation without gradients in which each process takes as many passes as it needs.

        It may not wait for the other processes itself.
        """
        ...

    def pooled(self, make: Callable[[Sequence[Row]], list[Unit]], rows: Sequence[Row]) -> list[Unit]:
        """Make a part of the rows into units; return those of all rows, in the rows' order.

        For units that take the model to make, and that depend on no row but their own.
        """
        ...

    def mixing(self) -> AbstractContextManager[None]:
        """Let whole tensors be written into the model's and the optimizer's, as when they are read."""
        ...

    def total(self, *numbers: float) -> tuple[float, ...]:
        """Sum each number over all processes."""
        ...

    def reduce_gradients(self, model: PreTrainedModel | PeftModel) -> None:
        """Sum the gradients over all processes."""
        ...

    def clip(self, model: PreTrainedModel | PeftModel, max_norm: float) -> float:
        """Scale the whole gradient down to `max_norm`; return its norm before."""
        ...

    def agree(self, wanted: bool) -> bool:
        """Return whether any process wants it."""
        ...

    def said(self, text: str) -> str:
        """Return what the process that writes says, once it has come here."""
        ...

    def gathered(
        self, model: PreTrainedModel | PeftModel, optimizer: torch.optim.Optimizer
    ) -> Snapshot | None:
        """Return whole weights and moments in host memory; None on processes that do not write."""
        ...


class Alone:
    """One process on one device."""

    rank = 0
    size = 1
    whole = True

    def __init__(self, device: torch.device | None = None) -> None:
        """Train on a device; none means the CPU."""
        self._device = device or torch.device("cpu")

    def loading(self) -> AbstractContextManager[None]:
        """Wait for nobody."""
        return nullcontext()

    def enter(self, model: PreTrainedModel | PeftModel) -> PreTrainedModel | PeftModel:
        """Bring the whole model to the device."""
        return model.to(self._device)

    def share(self, units: Sequence[Unit]) -> list[Unit]:
        """Return everything."""
        return list(units)

    def rounds(self, packs: Iterable[Sequence[Unit]], units: Sequence[Unit]) -> list[Round]:
        """Return every pack."""
        return [Round(list(pack), 1.0) for pack in packs]

    def passes(self, wanted: int) -> int:
        """Return as many as are needed."""
        return wanted

    def run(self, compute: Callable[[], T]) -> T:
        """Compute."""
        return compute()

    def run_unevenly(self, compute: Callable[[], T]) -> T:
        """Compute."""
        return compute()

    def pooled(self, make: Callable[[Sequence[Row]], list[Unit]], rows: Sequence[Row]) -> list[Unit]:
        """Make all rows into units."""
        return make(rows)

    def mixing(self) -> AbstractContextManager[None]:
        """Change nothing: all tensors are whole."""
        return nullcontext()

    def total(self, *numbers: float) -> tuple[float, ...]:
        """Return the numbers themselves."""
        return numbers

    def reduce_gradients(self, model: PreTrainedModel | PeftModel) -> None:
        """Leave the gradients as they are."""

    def clip(self, model: PreTrainedModel | PeftModel, max_norm: float) -> float:
        """Scale the whole gradient down to `max_norm`; return its norm before."""
        trained = [p for p in model.parameters() if p.requires_grad]
        return float(torch.nn.utils.clip_grad_norm_(trained, max_norm))

    def agree(self, wanted: bool) -> bool:
        """Return what this process wants."""
        return wanted

    def said(self, text: str) -> str:
        """Return the text."""
        return text

    def gathered(
        self, model: PreTrainedModel | PeftModel, optimizer: torch.optim.Optimizer
    ) -> Snapshot | None:
        """Return copies of weights and moments in host memory."""
        return capture(model, optimizer)
