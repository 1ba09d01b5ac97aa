"""Attention over packed rows: no padding, no mask, no row sees another.

Registered with transformers under `PACKED`. Rows of equal length lie side by side in the pack. Two
ways, with the same result up to rounding:

- by groups, everywhere: one causal call per distinct length, the rows of a group viewed as a batch.
- by lengths, on GPUs that flash attention knows, in half precision: one call for the whole pack,
  which is told where each row begins (`torch.nn.attention.varlen`).

Limits of the second way: its backward pass adds up in no fixed order unless
`torch.use_deterministic_algorithms(True)` is set; it has no second derivative and no dropout.
Recomputed layers may hold it, since what it keeps goes through autograd. It has not been run on a GPU.

Not covered: models that mix tokens outside of attention (linear attention, convolutions over time);
the masking proof refuses those. It computes in the weights' own type, so that with fp32 weights it
never runs the second way.

Shapes: N tokens of a pack, S rows of it, H heads, G key-value heads, D head size, R rows of a group,
T tokens of each of its rows.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple, TypeVar, cast

import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel

PACKED = "realm_packed"

Function = TypeVar("Function", bound=Callable[..., Any])

Groups = tuple[tuple[int, int], ...]
"""Rows and tokens a row, for each run of equally long rows in a pack."""


class Sealed:
    """A pack's groups, out of a compiler's sight: what it saw of them would be part of what it compiles."""

    def __init__(self, groups: Groups) -> None:
        self.groups = groups


Kernel = Callable[..., Any]
"""Computes what `torch.nn.attention.varlen.varlen_attn` documents."""

_HALVES = (torch.bfloat16, torch.float16)
_FIRST_GPU, _LAST_GPU = (8, 0), (12, 1)
"""Compute capabilities that torch's flash attention is built for."""
_LARGEST_HEAD, _HEAD_STEP = 256, 8
_SMALLER_GPUS = (((8, 6), (8, 9)), ((12, 0), (12, 1)))
"""Ranges of capabilities that have no backward pass for some large heads."""
_HEADS_WITHOUT_BACKWARD = range(193, 225)
_PACKS_REMEMBERED = 64


class Case(NamedTuple):
    """What decides which way attention goes."""

    capability: tuple[int, int] | None
    """Of the GPU, where torch has flash attention for its kind; none elsewhere."""
    dtype: torch.dtype
    """That the products are computed in."""
    head_sizes: tuple[int, int, int]
    """Of queries, keys and values."""
    dropout: float
    gradients: bool
    """Whether a backward pass will come."""


def case_of(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, dropout: float) -> Case:
    """Return what decides the way for these tensors, (1, heads, N, D) each."""
    given = (query, key, value)
    return Case(
        capability=_capability(query.device) if query.is_cuda else None,
        dtype=_computed_in(query),
        head_sizes=(query.shape[-1], key.shape[-1], value.shape[-1]),
        dropout=dropout,
        gradients=torch.is_grad_enabled() and any(x.requires_grad for x in given),
    )


def goes_by_lengths(case: Case) -> bool:
    """Say whether one flash attention call for the whole pack computes this case.

    The bounds are those by which torch 2.13 picks flash attention itself (`sdp_utils.cpp`), and a head
    size that needs no padding.
    """
    at, size = case.capability, case.head_sizes[0]
    if at is None or not _FIRST_GPU <= at <= _LAST_GPU or case.dtype not in _HALVES or case.dropout:
        return False
    if size > _LARGEST_HEAD or size % _HEAD_STEP or len(set(case.head_sizes)) > 1:
        return False
    smaller = any(first <= at <= last for first, last in _SMALLER_GPUS)
    return not (smaller and case.gradients and size in _HEADS_WITHOUT_BACKWARD)


def _outside_graphs(function: Function) -> Function:
    """Let compiled layers stop before a function and go on behind it."""
    return cast("Function", torch.compiler.disable(function))  # type: ignore[no-untyped-call]


def use_packed(model: PreTrainedModel) -> None:
    """Let the model attend within packed rows; every call then needs `groups`."""
    AttentionInterface.register(PACKED, packed_attention)
    AttentionMaskInterface.register(PACKED, _no_mask)
    model.set_attn_implementation(PACKED)


@_outside_graphs
def packed_attention(
    module: torch.nn.Module,
    query_1HND: torch.Tensor,
    key_1GND: torch.Tensor,
    value_1GND: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    groups: Groups | Sealed,
    scaling: float | None = None,
    dropout: float = 0.0,
    sliding_window: int | None = None,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """Attend causally within each row; return (1, N, H, D)."""
    if isinstance(groups, Sealed):
        groups = groups.groups
    case = case_of(query_1HND, key_1GND, value_1GND, dropout)
    if not goes_by_lengths(case):
        given = (query_1HND, key_1GND, value_1GND)
        return by_groups(*given, groups, scaling, sliding_window, dropout), None
    from torch.nn.attention.varlen import varlen_attn

    # Autocast knows scaled_dot_product_attention, but not this kernel.
    query, key, value = (x.to(case.dtype) for x in (query_1HND, key_1GND, value_1GND))
    return by_lengths(varlen_attn, query, key, value, groups, scaling, sliding_window), None


def by_lengths(
    kernel: Kernel,
    query_1HND: torch.Tensor,
    key_1GND: torch.Tensor,
    value_1GND: torch.Tensor,
    groups: Groups,
    scaling: float | None = None,
    sliding_window: int | None = None,
) -> torch.Tensor:
    """Attend causally within each row by one call of the kernel; return (1, N, H, D)."""
    query_NHD, key_NGD, value_NGD = (x.squeeze(0).transpose(0, 1) for x in (query_1HND, key_1GND, value_1GND))
    begins_S1 = _begins(groups, query_1HND.device)
    longest = max(tokens for _, tokens in groups)
    windowed = sliding_window is not None and longest > sliding_window
    out_NHD: torch.Tensor = kernel(
        query_NHD,
        key_NGD,
        value_NGD,
        begins_S1,
        begins_S1,
        longest,
        longest,
        scale=scaling,
        # Tokens seen to the left and to the right of the own one; -1 is all of them.
        window_size=((sliding_window or 0) - 1 if windowed else -1, 0),
        enable_gqa=query_NHD.shape[1] != key_NGD.shape[1],
    )
    return out_NHD.unsqueeze(0)


def by_groups(
    query_1HND: torch.Tensor,
    key_1GND: torch.Tensor,
    value_1GND: torch.Tensor,
    groups: Groups,
    scaling: float | None = None,
    sliding_window: int | None = None,
    dropout: float = 0.0,
) -> torch.Tensor:
    """Attend causally within each row, one call per distinct length; return (1, N, H, D)."""
    sizes = [rows * tokens for rows, tokens in groups]
    queries, keys, values = (
        torch.split(x.squeeze(0), sizes, dim=1) for x in (query_1HND, key_1GND, value_1GND)
    )
    parts = []
    for (rows, tokens), *group in zip(groups, queries, keys, values, strict=True):
        query, key, value = (x.reshape(x.shape[0], rows, tokens, -1).transpose(0, 1) for x in group)
        windowed = sliding_window is not None and tokens > sliding_window
        out_RHTD = scaled_dot_product_attention(
            query,
            key,
            value,
            attn_mask=_window(tokens, sliding_window, query.device) if windowed else None,
            is_causal=not windowed,
            dropout_p=dropout,
            scale=scaling,
            enable_gqa=query.shape[1] != key.shape[1],
        )
        parts.append(out_RHTD.transpose(1, 2).flatten(0, 1))
    return torch.cat(parts).unsqueeze(0)


def _computed_in(x: torch.Tensor) -> torch.dtype:
    """Return what autocast makes of x in a product; queries may be wider than values until then."""
    kind = x.device.type
    if torch.is_autocast_enabled(kind) and x.dtype is not torch.float64:
        return torch.get_autocast_dtype(kind)
    return x.dtype


@lru_cache
def _capability(device: torch.device) -> tuple[int, int] | None:
    """Return a GPU's compute capability; none on AMD's, and where torch was built without kernels."""
    if torch.version.hip or not torch.backends.cuda.is_flash_attention_available():
        return None
    return torch.cuda.get_device_capability(device)


@lru_cache(_PACKS_REMEMBERED)
def _begins(groups: Groups, device: torch.device) -> torch.Tensor:
    """Return where each row begins, and the end (S + 1,); made once a pack, not once a layer."""
    lengths = [tokens for rows, tokens in groups for _ in range(rows)]
    # A tensor of inference mode could not be kept for a later pass that trains.
    with torch.inference_mode(False):
        ends = torch.tensor([0, *lengths], dtype=torch.int32).cumsum(0, dtype=torch.int32)
        return ends.to(device)


def _window(tokens: int, width: int | None, device: torch.device) -> torch.Tensor:
    ones_TT = torch.ones(tokens, tokens, dtype=torch.bool, device=device)
    return ones_TT.tril().triu(1 - (width or tokens))


def _no_mask(*args: Any, **kwargs: Any) -> None:
    return None
