"""RMSNorm, rotary positions and SwiGLU: values, and gradients by hand.

Everything writes into memory that it is given. Formulas: RMSNorm (Zhang & Sennrich 2019), rotary
positions in halves (Su et al. 2021), SwiGLU (Shazeer 2020).

Shapes: N rows of a matrix (tokens, or tokens × heads), C their width, H heads, D head size, F width
of the MLP.
"""

from __future__ import annotations

import torch


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
    torch.ops.aten.silu.out(gate_NF, out=silu_NF)
    return torch.mul(silu_NF, up_NF, out=out_NF)


def swiglu_backward(
    grad_NF: torch.Tensor, gate_NF: torch.Tensor, up_NF: torch.Tensor, silu_NF: torch.Tensor
) -> None:
    """Turn the output's gradient into gate's and silu(gate) into up's gradient, in place."""
    silu_NF.mul_(grad_NF)
    torch.ops.aten.silu_backward.grad_input(grad_NF.mul_(up_NF), gate_NF, grad_input=grad_NF)
