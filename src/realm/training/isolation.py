"""Check 6 of the masking proof: packing changes no loss, and no row sees another.

The reference is the untouched model, one row at a time, with its own attention and head. A model
that mixes tokens outside of attention, scales its logits or trims wrongly fails here.

That no row sees another is looked at in two ways. A row is disturbed and the others' losses must stay,
within rounding: that finds every way of leaking, but not a faint one, since in a mixture of experts the
sizes of products follow the contents, and sums of other sizes round otherwise (measured: 1e-7 of a loss).
And each row's loss is derived by what the other rows' embeddings are: where no path leads from one to the
other that gradient is exactly 0, in every format and on every device, and where one does it is not,
however little the path carries in a model that is not trained yet. The fast decoder gives no such
gradient; the sizes of its products follow no content, so that disturbing must move nothing at all.

Shapes: N input tokens of a pack, C hidden size, R rows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch.nn.functional import cross_entropy
from transformers import PreTrainedModel

from realm.core.errors import DivergedError, MaskingError
from realm.models.adapters import decoder, text_config
from realm.models.encodings import Encoded
from realm.training import fast
from realm.training.batching import Batch, laid, pack
from realm.training.forward import row_losses, token_log_probs
from realm.training.method import Loss
from realm.training.world import Alone, World

_LONG_TOKENS = 512
_MOST_TOKENS = 1024
"""Of a row that is compared: its logits exist all at once, and those of 65,536 tokens fill a GPU."""
_TOLERANCE = 1e-4
"""Relative, on summed losses; single precision with another order of sums stays far below."""
_HALF_TOLERANCE = 5e-3
"""The same where weights are held in 16 bits or fewer and other kernels round otherwise."""
_LEAK_TOLERANCE = 1e-6
"""Relative, on summed losses; of a mixture of experts, whose kernels follow the contents, on any device."""
_REACH_TOKENS = 64
"""Of a row whose loss is derived: a path is there at any length, and all activations are kept at once."""


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


def cut(row: Encoded, most: int = _MOST_TOKENS) -> Encoded:
    """Return a row, or of one longer than `most` tokens the part around its first trained token."""
    first = int(row.trained.argmax())
    begin = max(0, min(first - most // 2, len(row.ids) - most))
    kept = slice(begin, begin + most)
    return row._replace(ids=row.ids[kept], weights=row.weights[kept])


class Leak(NamedTuple):
    """How a pack differs from its rows alone."""

    what: str
    model_type: str

    def error(self) -> MaskingError:
        """Return the refusal, where there is no other way to train."""
        return MaskingError(self.what, hint=f"models of type {self.model_type} cannot be trained like this")


def prove_isolation(
    model: PreTrainedModel,
    rows: Sequence[Encoded],
    alone: Sequence[float],
    numbers: Sequence[int | str],
    world: World | None = None,
) -> tuple[str, ...] | Leak:
    """Compare a pack of sampled rows with `alone`, then disturb rows; return what was found.

    All processes of a `world` compute the same, and one that finds a leak finds it for all.
    """
    world = world or Alone()
    packed = _losses(model, rows, world)
    if world.agree(not all(map(math.isfinite, [*alone, *packed]))):
        raise DivergedError(
            f"the loss is no finite number before the first step (rows {_list(numbers)})",
            hint="begin from an earlier checkpoint",
        )
    worst = max(_difference(a, b) for a, b in zip(packed, alone, strict=True))
    if world.agree(worst > _tolerance(model)):
        what = f"packed loss differs from the rows' own losses by {worst:.1e} (rows {_list(numbers)})"
        return Leak(what, model.config.model_type)
    leak = _leak(model, rows, packed, world)
    reach = _reach(model, [cut(row, _REACH_TOKENS) for row in rows], world)
    if world.agree(leak > (0.0 if reach is None else _LEAK_TOLERANCE)):
        what = f"a row changes another row's loss by {leak:.1e} (rows {_list(numbers)})"
        return Leak(what, model.config.model_type)
    if world.agree(bool(reach)):
        what = f"a row's loss has a gradient of {reach:.1e} by another row (rows {_list(numbers)})"
        return Leak(what, model.config.model_type)
    paths = "" if reach is None else ", and no gradient leads from one to another"
    return (
        f"packed loss: equals {len(rows)} rows alone to {worst:.1e}",
        f"isolation: disturbing each of {len(rows)} rows moves no other loss (at most {leak:.1e}){paths}",
    )


def _losses(model: PreTrainedModel, rows: Sequence[Encoded], world: World) -> list[float]:
    losses = world.run(lambda: row_losses(model, pack(rows, model.device), len(rows)))
    return [float(loss) for loss in losses]


def _leak(model: PreTrainedModel, rows: Sequence[Encoded], packed: Sequence[float], world: World) -> float:
    """Return by how much disturbing a row moves another row's loss at most, relative to it."""
    leak = 0.0
    for disturbed in range(len(rows)):
        other = [_disturb(row, model) if i == disturbed else row for i, row in enumerate(rows)]
        after = _losses(model, other, world)
        leak = max([leak, *(_difference(after[i], packed[i]) for i in range(len(rows)) if i != disturbed)])
    return leak


def _reach(model: PreTrainedModel, rows: Sequence[Encoded], world: World) -> float | None:
    """Return the largest gradient of a row's loss by another row's embeddings; None where none is told.

    What is no number counts as infinite. The fast way computes without the embedding's module, which is
    where embeddings are taken from.
    """
    if fast.takes_packs(model):
        return None
    batch = pack(rows, model.device)
    reach, row_of_N = 0.0, torch.tensor([i for i in laid(rows) for _ in rows[i].ids[1:]], device=model.device)
    for index in range(len(rows)):
        loss, embedded = _derivable(model, batch, index, world)
        if not embedded:
            return None
        found = torch.autograd.grad(loss, embedded, materialize_grads=True)
        gradient_NC = torch.cat([part.flatten(0, -2) for part in found])
        elsewhere = gradient_NC[row_of_N != index].abs().nan_to_num(math.inf)
        reach = max(reach, float(elsewhere.max()) if elsewhere.numel() else 0.0)
    return reach


def _derivable(
    model: PreTrainedModel, batch: Batch, row: int, world: World
) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Return a row's loss, and the embeddings of all rows that it was computed from.

    There are none where the model does not call its embedding's module. A pass for each row, since sharded
    weights are there for one backward pass alone.
    """
    inner: Any = decoder(model)
    embedded = list[torch.Tensor]()

    def keep(_: torch.nn.Module, __: object, output: torch.Tensor) -> torch.Tensor:
        embedded.append(output.detach().requires_grad_())
        return embedded[-1]

    hook = inner.get_input_embeddings().register_forward_hook(keep)
    try:
        with torch.enable_grad():
            loss = world.run(lambda: Loss(-token_log_probs(model, batch)[batch.row_of_M == row].sum()))
    finally:
        hook.remove()
    return loss.total, embedded


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
