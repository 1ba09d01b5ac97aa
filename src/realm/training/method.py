"""The contract of the `method` family: what a step minimises.

A step's loss is one sum over its units divided by one number:

    loss = Σ_packs total(pack) / normaliser(units of the step)

so that a step may be cut into packs, and over devices, without changing its gradient.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from realm.core.kinds import Family

if TYPE_CHECKING:
    import torch

    from realm.core.records import Example
    from realm.models.encodings import Encoded
    from realm.training.batching import Batch, Unit
    from realm.training.trainee import Trainee


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the data as a method sees it."""

    index: int
    """Place among the rows that are trained on."""
    example: Example
    sequences: tuple[Encoded, ...]
    """What `Method.sequences` gave, encoded."""
    number: str
    """Its line in its file, from 1, with the file's name where there are several."""


@dataclass(frozen=True, slots=True)
class Loss:
    """What a method makes of one pack."""

    total: torch.Tensor
    """Scalar with gradients: the pack's part of the step's loss, before the normaliser."""
    figures: dict[str, float] = field(default_factory=dict)
    """Sums over the pack's units; the step reports their means a unit."""


class Method(Protocol):
    """A way to turn rows into a number to minimise."""

    config: Any
    generates: ClassVar[bool]
    """Rows are prompts that the model answers during the step; the units of one depend on no other row, since
    processes share the rows."""

    def sequences(self, example: Example) -> tuple[Example, ...]:
        """Return the sequences of a row that are encoded. Raises DataError for an unfit row."""
        ...

    def begin(self, trainee: Trainee) -> None:
        """Prepare once before the first step: a reference model, a teacher."""
        ...

    def units(self, trainee: Trainee, step: int, rows: Sequence[Row]) -> list[Unit]:
        """Return what a step trains on. `step` counts the batches drawn, from 0."""
        ...

    def normaliser(self, units: Sequence[Unit]) -> float:
        """Return what the step's sum is divided by, above 0; adds up over parts of a step."""
        ...

    def loss(self, trainee: Trainee, batch: Batch) -> Loss:
        """Return one pack's part of the loss."""
        ...


METHODS: Family[Method] = Family("method", "realm.training.methods")
"""Kinds of the `method` family."""
