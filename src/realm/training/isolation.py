"""Check 6 of the masking proof: packing changes no loss, and no row sees another.

The reference is the untouched model, one row at a time, with its own attention and head. A model
that mixes tokens outside of attention, scales its logits or trims wrongly fails here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch.nn.functional import cross_entropy
from transformers import PreTrainedModel

from realm.core.errors import DivergedError, MaskingError
from realm.models.adapters import text_config
from realm.models.chat import Encoded
from realm.training.batching import pack
from realm.training.forward import row_losses

_LONG_TOKENS = 512
_MOST_TOKENS = 1024
"""Of a row that is compared: its logits exist all at once, and those of 65,536 tokens fill a GPU."""
_TOLERANCE = 1e-4
"""Relative, on summed losses; single precision with another order of sums stays far below."""
_HALF_TOLERANCE = 5e-3
"""The same where weights are held in 16 bits or fewer and other kernels round otherwise."""
_LEAK_TOLERANCE = 1e-6
"""Relative; the same kernels compute the same sums, whatever other rows hold."""


def single_losses(model: PreTrainedModel, rows: Sequence[Encoded]) -> list[float]:
    """Return each row's summed cross-entropy, computed alone by the model as it was loaded."""
    losses = []
    with torch.no_grad():
        for row in rows:
            ids_1T = torch.tensor(row.ids[None], dtype=torch.long, device=model.device)
            logits_TV = model(input_ids=ids_1T, use_cache=False).logits[0, :-1].float()
            trained_T = torch.from_numpy(row.trained[1:]).to(model.device)
            loss_T = cross_entropy(logits_TV, ids_1T[0, 1:], reduction="none")
            losses.append(float(loss_T[trained_T].sum()))
    return losses


def sample(rows: Sequence[Encoded]) -> list[int]:
    """Choose rows to compare, by their tokens: the shortest, two of middle length, and a long one.

    What reaches over a border only after some tokens shows in the longer ones; a row of more tokens than
    512 is taken where there are no others, since it is computed several times.
    """
    sizes = [len(row.ids) for row in rows]
    ordered = sorted(range(len(sizes)), key=lambda i: (sizes[i], i))
    middle = len(ordered) // 2
    bounded = [i for i in ordered if sizes[i] <= _LONG_TOKENS] or ordered[:1]
    return sorted({ordered[0], *ordered[middle : middle + 2], bounded[-1]})


def cut(row: Encoded) -> Encoded:
    """Return a row, or of a long one the part around its first trained token."""
    first = int(row.trained.argmax())
    begin = max(0, min(first - _MOST_TOKENS // 2, len(row.ids) - _MOST_TOKENS))
    kept = slice(begin, begin + _MOST_TOKENS)
    return row._replace(ids=row.ids[kept], weights=row.weights[kept])


class Leak(NamedTuple):
    """How a pack differs from its rows alone."""

    what: str
    model_type: str

    def error(self) -> MaskingError:
        """Return the refusal, where there is no other way to train."""
        return MaskingError(self.what, hint=f"models of type {self.model_type} cannot be trained like this")


def prove_isolation(
    model: PreTrainedModel, rows: Sequence[Encoded], alone: Sequence[float], numbers: Sequence[int | str]
) -> tuple[str, ...] | Leak:
    """Compare a pack of sampled rows with `alone`, then disturb rows; return what was found."""
    packed = row_losses(model, pack(rows, model.device), len(rows)).tolist()
    if not all(map(math.isfinite, [*alone, *packed])):
        raise DivergedError(
            f"the loss is no finite number before the first step (rows {_list(numbers)})",
            hint="begin from an earlier checkpoint",
        )
    worst = max(_difference(a, b) for a, b in zip(packed, alone, strict=True))
    if worst > _tolerance(model):
        what = f"packed loss differs from the rows' own losses by {worst:.1e} (rows {_list(numbers)})"
        return Leak(what, model.config.model_type)
    leak = 0.0
    for disturbed in range(len(rows)):
        other = [_disturb(row, model) if i == disturbed else row for i, row in enumerate(rows)]
        after = row_losses(model, pack(other, model.device), len(rows)).tolist()
        leak = max([leak, *(_difference(after[i], packed[i]) for i in range(len(rows)) if i != disturbed)])
    if leak > _LEAK_TOLERANCE:
        what = f"a row changes another row's loss by {leak:.1e} (rows {_list(numbers)})"
        return Leak(what, model.config.model_type)
    return (
        f"packed loss: equals {len(rows)} rows alone to {worst:.1e}",
        f"isolation: disturbing each of {len(rows)} rows moves no other loss (at most {leak:.1e})",
    )


def _tolerance(model: PreTrainedModel) -> float:
    exact = all(parameter.dtype in (torch.float32, torch.float64) for parameter in model.parameters())
    return _TOLERANCE if exact else _HALF_TOLERANCE


def _disturb(row: Encoded, model: PreTrainedModel) -> Encoded:
    return row._replace(ids=(row.ids + 1) % text_config(model).vocab_size)


def _difference(value: float, reference: float) -> float:
    """Relative difference; infinite where a value is no number, which compares with nothing."""
    difference = abs(value - reference) / max(1.0, abs(reference))
    return difference if math.isfinite(difference) else math.inf


def _list(numbers: Sequence[int | str]) -> str:
    return ", ".join(map(str, numbers))
