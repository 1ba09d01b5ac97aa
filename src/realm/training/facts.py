"""What a method noted of its units, laid out like a pack.

Shapes: U units of a pack, S its sequences, M its trained tokens.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from realm.training.batching import Batch


def per_unit(batch: Batch, name: str) -> torch.Tensor:
    """Return one number of each unit (U,), in their order."""
    return torch.tensor([float(unit.facts[name][0]) for unit in batch.units], device=batch.weights_M.device)


def per_token(batch: Batch, name: str) -> torch.Tensor:
    """Return a unit's numbers for its trained tokens, in the order of the pack (M,)."""
    given = torch.from_numpy(np.concatenate([unit.facts[name] for unit in batch.units]))
    laid_out = torch.empty_like(batch.weights_M)
    laid_out[_as_given(batch)] = given.to(laid_out)
    return laid_out


def split_by_unit(batch: Batch, values_M: torch.Tensor) -> list[NDArray[np.float32]]:
    """Return the values of each unit's trained tokens, in the units' own order."""
    given = values_M[_as_given(batch)].float().cpu().numpy()
    ends = np.cumsum([unit.trained_tokens for unit in batch.units])
    return np.split(given, ends[:-1])


def unit_means(batch: Batch, values_M: torch.Tensor) -> float:
    """Return the sum over units of their mean value a trained token."""
    return float(sum(values.mean() for values in split_by_unit(batch, values_M.detach()) if len(values)))


def _as_given(batch: Batch) -> torch.Tensor:
    """Return where in the pack the trained tokens lie, sequence after sequence as they were given."""
    return torch.argsort(batch.row_of_M, stable=True)
