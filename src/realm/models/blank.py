"""The contract of the `blank` family: model shapes that can be born with random weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from realm.core.kinds import Family
from realm.core.records import Record

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class SpecialIds(Record):
    """Token ids that a model's config has to know."""

    end: int
    """Ends a turn and a text; generation stops there."""
    pad: int


class Blank(Protocol):
    """A model shape without weights."""

    def build(self, vocab_size: int, special: SpecialIds, seed: int) -> PreTrainedModel:
        """Build the model in fp32; equal seeds give equal bytes, global random state is kept."""
        ...


BLANKS: Family[Blank] = Family("blank", "realm.models.blanks")
