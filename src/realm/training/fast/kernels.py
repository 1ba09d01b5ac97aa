"""RMSNorm, rotary positions, SwiGLU and attention within rows: values, and gradients by hand.

Everything writes into memory that it is given. Formulas: RMSNorm (Zhang & Sennrich 2019), rotary
positions in halves (Su et al. 2021), SwiGLU (Shazeer 2020), attention in tiles (Dao et al. 2022).

Shapes: N rows of a matrix (tokens, or tokens × heads), C their width, H heads, D head size, F width
of the MLP, R rows of a group, T tokens of each of its rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch

from realm.training.attention import Groups

_flash = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
_flash_backward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward


def norm_scale(x_NC: torch.Tensor, eps: float) -> torch.Tensor:
    """Return 1 / rms(x) of each row, (N, 1)."""
    scale_N1: torch.Tensor = torch.linalg.vector_norm(x_NC, dim=-1, keepdim=True)
    return scale_N1.square_().div_(x_NC.shape[1]).add_(eps).rsqrt_()


def norm_backward(
    grad_NC: torch.Tensor,
    x_NC: torch.Tensor,
    weight_C: torch.Tensor,
    scale_N1: torch.Tensor,
    scratch_NC: tuple[torch.Tensor, torch.Tensor],
) -> torch.Tensor:
    """Turn the output's gradient into the input's, in place; return the weight's before its sum over N."""
    unit_NC = torch.mul(x_NC, scale_N1, out=scratch_NC[0])
    along_NC = torch.mul(grad_NC, unit_NC, out=scratch_NC[1])
    mean_N1 = torch.mv(along_NC, weight_C.to(x_NC.dtype)).div_(x_NC.shape[1]).unsqueeze(1)
    grad_NC.mul_(weight_C).addcmul_(unit_NC, mean_N1, value=-1).mul_(scale_N1)
    return along_NC


def rotate(
    x_NHD: torch.Tensor, cos_N1D: torch.Tensor, sin_N1D: torch.Tensor, out_NHD: torch.Tensor, sign: int = 1
) -> torch.Tensor:
    """Write x turned by its position's angles, or back for sign -1; return it."""
    half = x_NHD.shape[-1] // 2
    torch.mul(x_NHD, cos_N1D, out=out_NHD)
    out_NHD[..., :half].addcmul_(x_NHD[..., half:], sin_N1D[..., :half], value=-sign)
    out_NHD[..., half:].addcmul_(x_NHD[..., :half], sin_N1D[..., half:], value=sign)
    return out_NHD


def swiglu(
    gate_NF: torch.Tensor, up_NF: torch.Tensor, silu_NF: torch.Tensor, out_NF: torch.Tensor
) -> torch.Tensor:
    """Write silu(gate) and silu(gate) · up, which may share memory; return the latter."""
    # Of ATen's kernels a sigmoid and a product are faster than its silu.
    torch.sigmoid(gate_NF, out=silu_NF).mul_(gate_NF)
    return torch.mul(silu_NF, up_NF, out=out_NF)


def swiglu_backward(
    grad_NF: torch.Tensor, gate_NF: torch.Tensor, up_NF: torch.Tensor, silu_NF: torch.Tensor
) -> None:
    """Turn the output's gradient into gate's and silu(gate) into up's gradient, in place."""
    silu_NF.mul_(grad_NF)
    torch.ops.aten.silu_backward.grad_input(grad_NF.mul_(up_NF), gate_NF, grad_input=grad_NF)


def attend(
    query_NHD: torch.Tensor,
    key_NGD: torch.Tensor,
    value_NGD: torch.Tensor,
    groups: Groups,
    scale: float,
    out_NHD: torch.Tensor,
) -> list[torch.Tensor]:
    """Write causal attention within each row; return what the backward pass needs."""
    sums = []
    for query, key, value, out in _by_group(groups, query_NHD, key_NGD, value_NGD, out_NHD):
        found_RHTD, sum_RHT = _flash(query, key, value, 0.0, True, scale=scale)
        out.copy_(found_RHTD)
        sums.append(sum_RHT)
    return sums


def attend_backward(
    tensors: Sequence[torch.Tensor],
    sums: Sequence[torch.Tensor],
    groups: Groups,
    scale: float,
    grads: Sequence[torch.Tensor],
) -> None:
    """Write gradients of query, key and value; tensors are the output's gradient, q, k, v, output."""
    by_group = zip(sums, _by_group(groups, *tensors), _by_group(groups, *grads), strict=True)
    for sum_RHT, group, into in by_group:
        found = _flash_backward(*group, sum_RHT, 0.0, True, scale=scale)
        for grad, part in zip(into, found, strict=True):
            grad.copy_(part)


def _by_group(groups: Groups, *tensors: torch.Tensor) -> Iterator[list[torch.Tensor]]:
    """View each group of equally long rows of contiguous tensors as (R, heads, T, D)."""
    begin = 0
    for rows, tokens in groups:
        # One call instead of three: packs have dozens of groups, and every call costs a microsecond.
        yield [
            x.as_strided(
                (rows, x.shape[1], tokens, x.shape[2]),
                (tokens * x.stride(0), x.stride(1), x.stride(0), 1),
                x.storage_offset() + begin * x.stride(0),
            )
            for x in tensors
        ]
        begin += rows * tokens
