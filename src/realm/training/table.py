"""The rows of one file as sequences, and the account of what became of them.

Shapes: N tokens, S sequences, R rows that are trained on (a piece is a row of its own).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from realm.models.encodings import Encodings
from realm.training.cache import Made
from realm.training.dropping import Account

_OF_ENCODINGS = tuple(field.name for field in fields(Encodings))


@dataclass(frozen=True, slots=True)
class Table:
    """The rows of one file as sequences."""

    sequences: Encodings
    expected_S: NDArray[np.int64]
    """Turns of each that are to be trained; -1 for a text."""
    firsts_R: NDArray[np.int64]
    """(R + 1,): where each row's sequences begin."""
    lines_R: NDArray[np.int64]
    """Each row's line in the file, from 1."""
    offsets_R: NDArray[np.int64]
    """Where that line begins, bytes."""
    account: Account

    def chosen(self, wanted_R: NDArray[np.bool_]) -> Table:
        """Return some of the rows, with an account of their own."""
        rows = np.flatnonzero(wanted_R)
        counts = np.diff(self.firsts_R)[rows]
        begins = self.firsts_R[rows]
        firsts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        chosen = np.repeat(begins - firsts[:-1], counts) + np.arange(firsts[-1])
        found = self.sequences.taken(chosen)
        account = self.account.model_copy(
            update={
                "kept": len(rows),
                "tokens": int(found.sizes_S.sum()),
                "trained_tokens": int(predicted(found).sum()),
            }
        )
        return Table(
            found, self.expected_S[chosen], firsts, self.lines_R[rows], self.offsets_R[rows], account
        )

    def flattened(self) -> Made:
        """Return the arrays by name and the account, as a cache keeps them."""
        found = self.sequences
        arrays = {name: getattr(found, name) for name in _OF_ENCODINGS}
        rest = {name: getattr(self, name) for name in _own_arrays()}
        return {**arrays, **rest}, {"account": self.account.model_dump(mode="json")}

    @classmethod
    def unflattened(cls, arrays: Mapping[str, Any], facts: Mapping[str, Any]) -> Table:
        """Return the table of which `flattened` made these."""
        found = Encodings(**{name: arrays[name] for name in _OF_ENCODINGS})
        own = {name: arrays[name] for name in _own_arrays()}
        return cls(sequences=found, account=Account.model_validate(facts["account"]), **own)


def _own_arrays() -> list[str]:
    return [field.name for field in fields(Table) if field.name not in ("sequences", "account")]


def predicted(found: Encodings) -> NDArray[np.int64]:
    """Return (S,) how many trained tokens of each sequence have a token before them."""
    counted_N = np.concatenate([[0], np.cumsum(found.weights_N > 0, dtype=np.int64)])
    ends_S = found.begins_S + found.sizes_S
    result_S: NDArray[np.int64] = counted_N[ends_S] - counted_N[np.minimum(found.begins_S + 1, ends_S)]
    return result_S
