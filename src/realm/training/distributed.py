"""Worlds of several processes: whole copies of the model (DDP), or a share of it each (FSDP2).

Both sum: a step's loss and gradient are those of one process with all the step's units, up to the
order of the sums. Gradients are never means over ranks. Units that take the model to make, such as
answers, are made by one rank each and held by all. Only tensors of numbers travel.

References: Li et al. 2020 (DDP), Rajbhandari et al. 2020 (ZeRO), Zhao et al. 2023 (FSDP).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from itertools import groupby
from typing import TypeVar

import torch
from peft import PeftModel
from torch import distributed
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor
from torch.distributed.tensor.experimental import implicit_replication
from transformers import PreTrainedModel

from realm.core.errors import RefusedError
from realm.models.adapters import decoder, state_to_save
from realm.training.batching import Unit
from realm.training.groups import trainable
from realm.training.method import Loss, Row
from realm.training.saving import Snapshot, capture
from realm.training.state import moments
from realm.training.travelling import from_bytes, to_bytes
from realm.training.unpacked import as_loaded
from realm.training.world import Round, World

T = TypeVar("T")


def balanced(units: Sequence[Unit], ranks: int) -> list[list[Unit]]:
    """Share units among ranks so that tokens are balanced; each rank's keep their order.

    Longest first, each to the rank with the fewest tokens so far (Graham 1969): at most 4/3 of the
    best there is. A pure function of the units, so that every rank finds the same shares.
    """
    loads, shares = [0] * ranks, [list[int]() for _ in range(ranks)]
    for index in sorted(range(len(units)), key=lambda i: (-units[i].tokens, i)):
        rank = min(range(ranks), key=lambda r: (loads[r], r))
        loads[rank] += units[index].tokens
        shares[rank].append(index)
    return [[units[i] for i in sorted(members)] for members in shares]


class _Ranks:
    """What ranks do alike, whatever each of them holds. The process group exists."""

    def __init__(self, device: torch.device) -> None:
        self.rank = distributed.get_rank()
        self.size = distributed.get_world_size()
        self._device = device

    def share(self, units: Sequence[Unit]) -> list[Unit]:
        """Return this rank's part of a step; none where there are fewer units than ranks."""
        return balanced(units, self.size)[self.rank]

    def run_unevenly(self, compute: Callable[[], T]) -> T:
        """Compute: no rank's pass needs another rank."""
        return compute()

    def pooled(self, make: Callable[[Sequence[Row]], list[Unit]], rows: Sequence[Row]) -> list[Unit]:
        """Make this rank's rows into units, possibly none; return all ranks' units in the rows' order."""
        mine = rows[len(rows) * self.rank // self.size : len(rows) * (self.rank + 1) // self.size]
        made = self.run_unevenly(lambda: make(mine) if mine else [])
        return [unit for said in self._told(to_bytes(made)) for unit in from_bytes(said)]

    def total(self, *numbers: float) -> tuple[float, ...]:
        """Sum each number over all ranks; the sums are the same bits on every rank."""
        sums = torch.tensor(numbers, dtype=torch.float64)
        distributed.all_reduce(sums)
        return tuple(sums.tolist())

    def agree(self, wanted: bool) -> bool:
        """Return whether any rank wants it."""
        return self._most(int(wanted)) > 0

    def said(self, text: str) -> str:
        """Return rank 0's text on every rank; they wait for it."""
        size = self._most(len(text.encode()) if self.rank == 0 else 0)
        letters = torch.zeros(size, dtype=torch.uint8)
        if self.rank == 0:
            letters = torch.tensor(list(text.encode()), dtype=torch.uint8)
        distributed.broadcast(letters, src=0)
        return bytes(letters.tolist()).decode()

    def _told(self, said: bytes) -> list[bytes]:
        """Return what every rank says; at least a byte each."""
        sizes = [torch.zeros(1, dtype=torch.int64) for _ in range(self.size)]
        distributed.all_gather(sizes, torch.tensor([len(said)]))
        longest = max(int(size) for size in sizes)
        mine = torch.frombuffer(bytearray(said.ljust(longest, b"\0")), dtype=torch.uint8)
        told = [torch.empty_like(mine) for _ in sizes]
        distributed.all_gather(told, mine)
        return [letters[: int(size)].numpy().tobytes() for letters, size in zip(told, sizes, strict=True)]

    def _most(self, number: int) -> int:
        most = torch.tensor(number)
        distributed.all_reduce(most, distributed.ReduceOp.MAX)
        return int(most)


class Replicated(_Ranks):
    """Every rank holds the whole model; gradients are summed in one message a step."""

    whole = True

    def __init__(self, device: torch.device) -> None:
        super().__init__(device)
        self._buffers = dict[torch.dtype, torch.Tensor]()

    def loading(self) -> AbstractContextManager[None]:
        """Wait for nobody."""
        return nullcontext()

    def enter(self, model: PreTrainedModel | PeftModel) -> PreTrainedModel | PeftModel:
        """Bring the whole model to the device; all ranks loaded the same files, drew from the same seeds."""
        return model.to(self._device)

    def rounds(self, packs: Iterable[Sequence[Unit]], units: Sequence[Unit]) -> list[Round]:
        """Return this rank's packs; a rank without any computes the smallest unit for nothing.

        So every rank knows the step's figures, and which parameters it has gradients of.
        """
        return _rounds(packs, units, at_least=1)

    def passes(self, wanted: int) -> int:
        """Return as many as are needed: no rank's pass needs another rank."""
        return wanted

    def run(self, compute: Callable[[], T]) -> T:
        """Compute."""
        return compute()

    def mixing(self) -> AbstractContextManager[None]:
        """Change nothing: all tensors are whole."""
        return nullcontext()

    @torch.no_grad()
    def reduce_gradients(self, model: PreTrainedModel | PeftModel) -> None:
        """Sum the gradients over all ranks. One that no rank has stays none."""
        parameters = sorted(trainable(model), key=lambda p: str(p.dtype))
        for dtype, members in groupby(parameters, key=lambda p: p.dtype):
            self._reduce(dtype, list(members))

    def _reduce(self, dtype: torch.dtype, parameters: Sequence[torch.nn.Parameter]) -> None:
        """Lay gradients behind each other, sum, and let the parameters look into the sums."""
        sizes = [*(parameter.numel() for parameter in parameters), len(parameters)]
        if dtype not in self._buffers:
            self._buffers[dtype] = torch.empty(sum(sizes), dtype=dtype, device=self._device)
        buffer = self._buffers[dtype]
        *places, counts = torch.split(buffer, sizes)
        counts.copy_(torch.tensor([float(parameter.grad is not None) for parameter in parameters]))
        for parameter, place in zip(parameters, places, strict=True):
            if parameter.grad is None:
                place.zero_()
            else:
                place.copy_(parameter.grad.flatten())
        distributed.all_reduce(buffer)
        for parameter, place, count in zip(parameters, places, counts.tolist(), strict=True):
            parameter.grad = place.view_as(parameter) if count else None

    def clip(self, model: PreTrainedModel | PeftModel, max_norm: float) -> float:
        """Scale the whole gradient, which every rank has, down to `max_norm`; return its norm."""
        return float(torch.nn.utils.clip_grad_norm_(trainable(model), max_norm))

    def gathered(
        self, model: PreTrainedModel | PeftModel, optimizer: torch.optim.Optimizer
    ) -> Snapshot | None:
        """Return copies of weights and moments on rank 0."""
        return capture(model, optimizer) if self.rank == 0 else None


class _Root(torch.nn.Module):
    """Runs any computation on a model with what lies outside of its layers made whole.

    Embeddings, last norm and head are read by more than one module's forward pass, and by code that
    takes the head's weight itself; so they are one group, whole from here to the backward pass.
    """

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, compute: Callable[[], object]) -> tuple[list[torch.Tensor], object]:
        """Return what was computed, after the tensors in it from which gradients will flow."""
        found = compute()
        return ([found.total] if isinstance(found, Loss) else []), found


class Sharded(_Ranks):
    """Every rank holds its share of weights, gradients and moments; a layer is whole while it runs.

    What lies outside of the layers (embeddings, head) is whole for the whole of forward and backward.
    """

    whole = False

    def __init__(self, device: torch.device) -> None:
        super().__init__(device)
        self._mesh = init_device_mesh(device.type, (self.size,))  # all ranks at once: not in a turn

    @contextmanager
    def loading(self) -> Iterator[None]:
        """Wait for the ranks before this one, so that the machine holds the whole model once at a time.

        A mapped file's pages are shared, but not those of weights that are put together from several tensors
        of a file, as those of experts are, or brought to another format.
        """
        for _ in range(self.rank):
            self.agree(False)
        yield
        for _ in range(self.rank, self.size):
            self.agree(False)

    def enter(self, model: PreTrainedModel | PeftModel) -> PreTrainedModel | PeftModel:
        """Shard a model in place, layer by layer, each from where it was loaded.

        Never more than a layer, or what lies outside of the layers, is whole on the device. Raises
        RefusedError for weights of 4 bits.
        """
        coarse = [name for name, value in model.named_parameters() if not value.is_floating_point()]
        if coarse:
            raise RefusedError(
                f"fsdp2 cannot share out weights of 4 bits, such as {coarse[0]}", hint="use strategy: ddp"
            )
        for layer in decoder(model).layers:  # type: ignore[union-attr]
            _summing(fully_shard(layer, mesh=self._mesh))
        self._root = _Root(model)
        self._root_group = fully_shard(self._root, mesh=self._mesh)
        _summing(self._root_group)
        return model

    def rounds(self, packs: Iterable[Sequence[Unit]], units: Sequence[Unit]) -> list[Round]:
        """Return as many packs on every rank: all take part whenever a layer is made whole."""
        mine = [pack for pack in packs if pack]
        return _rounds(mine, units, at_least=self._most(len(mine)))

    def passes(self, wanted: int) -> int:
        """Return as many on every rank: all take part whenever a layer is made whole."""
        return self._most(wanted)

    def run(self, compute: Callable[[], T]) -> T:
        """Compute with the weights outside of the layers whole. All ranks call this alike."""
        tensors, found = self._root(compute)
        if not any(tensor.requires_grad for tensor in tensors):
            self._root_group.reshard()
        return found  # type: ignore[no-any-return]

    def run_unevenly(self, compute: Callable[[], T]) -> T:
        """Compute; before each pass ranks tell each other that there is one, so that all take part.

        A rank that is done reads one token for nothing in every pass that another still takes.
        """
        return self.run(partial(self._in_company, compute))

    def _in_company(self, compute: Callable[[], T]) -> T:
        model = self._root.model
        inner = decoder(model)
        hook = inner.register_forward_pre_hook(self._announce)
        try:
            found = compute()
        finally:
            hook.remove()
        one = torch.zeros(1, 1, dtype=torch.long, device=self._device)
        with torch.no_grad(), as_loaded(model):
            model.eval()
            while self.agree(False):
                inner(input_ids=one, use_cache=False)
        return found

    def _announce(self, *_: object) -> None:
        self.agree(True)

    def mixing(self) -> AbstractContextManager[None]:
        """Let whole tensors, the same on every rank, be written into sharded ones."""
        return implicit_replication()

    def reduce_gradients(self, model: PreTrainedModel | PeftModel) -> None:
        """Leave the gradients: the backward pass has summed them."""

    def clip(self, model: PreTrainedModel | PeftModel, max_norm: float) -> float:
        """Scale the whole gradient down to `max_norm`; return its norm before."""
        norm = torch.nn.utils.clip_grad_norm_(trainable(model), max_norm)
        return float(_whole(norm))

    def gathered(
        self, model: PreTrainedModel | PeftModel, optimizer: torch.optim.Optimizer
    ) -> Snapshot | None:
        """Return whole weights and moments on rank 0; one tensor at a time is whole on the others."""
        weights = self._gathered(state_to_save(model))
        found = self._gathered(moments(optimizer, model))
        return Snapshot(weights=weights, moments=found) if self.rank == 0 else None

    def _gathered(self, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        kept = dict[str, torch.Tensor]()
        for name, value in tensors.items():
            whole = _whole(value.detach())
            if self.rank == 0:
                kept[name] = whole.to("cpu", copy=True)
        return kept


WORLDS: Mapping[str, Callable[[torch.device], World]] = {"ddp": Replicated, "fsdp2": Sharded}
"""By the strategy's name in a recipe."""


def _rounds(packs: Iterable[Sequence[Unit]], units: Sequence[Unit], *, at_least: int) -> list[Round]:
    """Return packs that count, then the smallest unit for nothing until there are enough."""
    mine = [Round(list(pack), 1.0) for pack in packs if pack]
    smallest = min(units, key=lambda unit: unit.tokens)
    return mine + [Round([smallest], 0.0)] * (at_least - len(mine))


def _summing(module: FSDPModule) -> None:
    """Let gradients be summed over ranks, as the step's normaliser is."""
    module.set_gradient_divide_factor(1.0)
    module.set_force_sum_reduction_for_comms(True)


def _whole(value: torch.Tensor) -> torch.Tensor:
    return value.full_tensor() if isinstance(value, DTensor) else value
