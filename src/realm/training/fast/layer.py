"""A decoder layer's two halves, attention and MLP, each with its backward pass.

Kept for the backward pass: a half's input, raw queries and keys, values, attention's output, gate
and up. Norms, rotations and SwiGLU are computed again, which is cheaper than reading them back.

Shapes: N tokens, M places that predict, X either of them, C hidden size, H heads, D head size,
O = H · D, F width of the MLP.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from realm.training.attention import Groups
from realm.training.fast import kernels
from realm.training.fast.buffers import Buffers
from realm.training.fast.projection import Gradients, Projection

Angles = tuple[torch.Tensor, torch.Tensor]
"""Cosine and sine of each token's position, (X, 1, D)."""


@dataclass(slots=True)
class Pass:
    """One forward pass over a pack, and what its backward pass needs."""

    groups: Groups
    angles: Angles
    places_M: torch.Tensor
    buffers: Buffers
    scales: dict[Norm, torch.Tensor] = field(default_factory=dict)
    """1 / rms of each row that a norm has seen."""
    sums: dict[Attention, list[torch.Tensor]] = field(default_factory=dict)
    """Log-sum-exps of attention, for each group of rows."""
    gradients: Gradients = field(default_factory=Gradients)


class Norm:
    """RMSNorm, read from transformers' module."""

    def __init__(self, module: Any) -> None:
        self.weight: nn.Parameter = module.weight
        self._eps: float = module.variance_epsilon

    def forward(self, x_NC: torch.Tensor, out_NC: torch.Tensor, run: Pass) -> torch.Tensor:
        """Write the normed x; return it."""
        run.scales[self] = kernels.norm_scale(x_NC, self._eps)
        return self.again(x_NC, out_NC, run)

    def again(self, x_NC: torch.Tensor, out_NC: torch.Tensor, run: Pass) -> torch.Tensor:
        """Write once more what `forward` wrote; return it."""
        return torch.mul(x_NC, run.scales[self], out=out_NC).mul_(self.weight)

    def backward(self, grad_NC: torch.Tensor, x_NC: torch.Tensor, run: Pass) -> torch.Tensor:
        """Turn the output's gradient into the input's, in place; return it."""
        scratch = (run.buffers("norm unit", *x_NC.shape), run.buffers("norm along", *x_NC.shape))
        parts_NC = kernels.norm_backward(grad_NC, x_NC, self.weight, run.scales[self], scratch)
        if self.weight.requires_grad:
            run.gradients.add(self.weight, parts_NC.sum(0))
        return grad_NC


class TurnedHeads:
    """Queries or keys: projected, normed a head where the build does so, turned by position."""

    def __init__(self, attention: Any, letter: str, number: int) -> None:
        self.projection = Projection(getattr(attention, f"{letter}_proj"))
        norm = getattr(attention, f"{letter}_norm", None)
        self.norm = None if norm is None else Norm(norm)
        self._head_dim: int = attention.head_dim
        self._letter, self._number = letter, number

    def forward(self, x_XC: torch.Tensor, angles: Angles, run: Pass) -> torch.Tensor:
        """Return the heads (X, H, D), in a buffer that the next layer overwrites."""
        raw_XHD = self._raw(len(x_XC), run)
        self.projection.forward(x_XC, raw_XHD.flatten(1), run.buffers)
        if self.norm is not None:
            self.norm.forward(raw_XHD.flatten(0, 1), self._normed(raw_XHD, run), run)
        return self._turn(raw_XHD, angles, run)

    def again(self, rows: int, angles: Angles, run: Pass) -> torch.Tensor:
        """Return once more what `forward` returned."""
        raw_XHD = self._raw(rows, run)
        if self.norm is not None:
            self.norm.again(raw_XHD.flatten(0, 1), self._normed(raw_XHD, run), run)
        return self._turn(raw_XHD, angles, run)

    def backward(
        self,
        grad_XHD: torch.Tensor,
        x_XC: torch.Tensor,
        angles: Angles,
        run: Pass,
        into_XC: torch.Tensor | None,
        *,
        add: bool,
    ) -> None:
        """Collect gradients; write the input's into `into_XC`, or add them to it."""
        raw_XHD = self._raw(len(x_XC), run)
        back_XHD = run.buffers("heads back", *grad_XHD.shape)
        kernels.rotate(grad_XHD, *angles, back_XHD, sign=-1)
        if self.norm is not None:
            self.norm.backward(back_XHD.flatten(0, 1), raw_XHD.flatten(0, 1), run)
        self.projection.backward(back_XHD.flatten(1), x_XC, run.gradients, run.buffers, into_XC, add=add)

    def _raw(self, rows: int, run: Pass) -> torch.Tensor:
        heads = self.projection.out_features // self._head_dim
        return run.buffers(f"{self._number} {self._letter}", rows, heads, self._head_dim)

    def _normed(self, raw_XHD: torch.Tensor, run: Pass) -> torch.Tensor:
        return run.buffers("heads normed", *raw_XHD.shape).flatten(0, 1)

    def _turn(self, raw_XHD: torch.Tensor, angles: Angles, run: Pass) -> torch.Tensor:
        x_XHD = raw_XHD if self.norm is None else run.buffers("heads normed", *raw_XHD.shape)
        return kernels.rotate(x_XHD, *angles, run.buffers(f"turned {self._letter}", *raw_XHD.shape))


class Attention:
    """y = x + o(attention(norm(x))), everywhere or where something is predicted."""

    def __init__(self, norm: nn.Module, attention: Any, number: int, *, chosen: bool) -> None:
        self._norm = Norm(norm)
        self._query, self._key = (TurnedHeads(attention, letter, number) for letter in "qk")
        self._value, self._out = Projection(attention.v_proj), Projection(attention.o_proj)
        self._head_dim: int = attention.head_dim
        self._scale: float = attention.scaling
        self._number, self._chosen = number, chosen

    def parameters(self) -> list[nn.Parameter]:
        """Return everything the output depends on."""
        maps = (self._query.projection, self._key.projection, self._value, self._out)
        norms = (self._norm, self._query.norm, self._key.norm)
        return [
            *(parameter for each in maps for parameter in each.parameters()),
            *(norm.weight for norm in norms if norm is not None),
        ]

    def forward(self, x_NC: torch.Tensor, out_XC: torch.Tensor, run: Pass) -> torch.Tensor:
        """Write the output (N, C), or (M, C) in the last layer; return it."""
        normed_NC = self._norm.forward(x_NC, run.buffers("normed", *x_NC.shape), run)
        query = self._query.forward(self._choose(normed_NC, run), self._angles(run), run)
        query_NHD = self._spread(query, len(x_NC), "query", run)
        key_NGD = self._key.forward(normed_NC, run.angles, run)
        value_NGD = self._values(len(x_NC), run)
        self._value.forward(normed_NC, value_NGD.flatten(1), run.buffers)
        found_NHD = run.buffers(f"{self._number} attended", *query_NHD.shape)
        run.sums[self] = kernels.attend(query_NHD, key_NGD, value_NGD, run.groups, self._scale, found_NHD)
        found_XO = self._choose(found_NHD.flatten(1), run)
        return self._out.forward(found_XO, out_XC, run.buffers, residual_NO=self._choose(x_NC, run))

    def backward(
        self, grad_XC: torch.Tensor, x_NC: torch.Tensor, run: Pass, *, further: bool
    ) -> torch.Tensor:
        """Return the input's gradient (N, C), in memory of the output's where it fits.

        Without `further` nobody needs it: what is returned then has no meaning.
        """
        tokens = len(x_NC)
        query_XHD = self._query.again(len(grad_XC), self._angles(run), run)
        query_NHD = self._spread(query_XHD, tokens, "query", run)
        key_NGD, value_NGD = self._key.again(tokens, run.angles, run), self._values(tokens, run)
        found_NHD = run.buffers(f"{self._number} attended", *query_NHD.shape)
        grad_XHD = run.buffers("attended grad", *query_XHD.shape)
        found_XO = self._choose(found_NHD.flatten(1), run)
        self._out.backward(grad_XC, found_XO, run.gradients, run.buffers, grad_XHD.flatten(1))
        grad_NHD = self._spread(grad_XHD, tokens, "grad", run)
        like = {"query": query_NHD, "key": key_NGD, "value": value_NGD}
        grads = [run.buffers(f"{name} grad", *tensor.shape) for name, tensor in like.items()]
        kernels.attend_backward(
            (grad_NHD, *like.values(), found_NHD), run.sums.pop(self), run.groups, self._scale, grads
        )
        onward = further or self._norm.weight.requires_grad
        back_NC = run.buffers("back", *x_NC.shape) if onward else None
        self._inputs_backward(grads, x_NC, run, back_NC)
        if back_NC is None:
            return grad_XC
        if not self._chosen:
            return grad_XC.add_(back_NC)
        grad_NC = run.buffers("grad", *x_NC.shape).copy_(back_NC)
        return grad_NC.index_add_(0, run.places_M, grad_XC)

    def _inputs_backward(
        self, grads: list[torch.Tensor], x_NC: torch.Tensor, run: Pass, into_NC: torch.Tensor | None
    ) -> None:
        query_grad, key_grad, value_grad = grads
        normed_NC = self._norm.again(x_NC, run.buffers("normed", *x_NC.shape), run)
        self._key.backward(key_grad, normed_NC, run.angles, run, into_NC, add=False)
        self._value.backward(value_grad.flatten(1), normed_NC, run.gradients, run.buffers, into_NC, add=True)
        normed_XC, query_grad = self._choose(normed_NC, run), self._choose(query_grad, run)
        if not self._chosen or into_NC is None:
            self._query.backward(query_grad, normed_XC, self._angles(run), run, into_NC, add=True)
        else:
            part_MC = run.buffers("chosen back", *normed_XC.shape)
            self._query.backward(query_grad, normed_XC, self._angles(run), run, part_MC, add=False)
            into_NC.index_add_(0, run.places_M, part_MC)
        if into_NC is not None:
            self._norm.backward(into_NC, x_NC, run)

    def _values(self, tokens: int, run: Pass) -> torch.Tensor:
        heads = self._value.out_features // self._head_dim
        return run.buffers(f"{self._number} v", tokens, heads, self._head_dim)

    def _angles(self, run: Pass) -> Angles:
        return (self._choose(run.angles[0], run), self._choose(run.angles[1], run))

    def _choose(self, x_N: torch.Tensor, run: Pass) -> torch.Tensor:
        return x_N.index_select(0, run.places_M) if self._chosen else x_N

    def _spread(self, x_XHD: torch.Tensor, tokens: int, name: str, run: Pass) -> torch.Tensor:
        if not self._chosen:
            return x_XHD
        spread_NHD = run.buffers(f"spread {name}", tokens, *x_XHD.shape[1:]).zero_()
        return spread_NHD.index_copy_(0, run.places_M, x_XHD)


class MLP:
    """y = x + down(silu(gate(norm(x))) · up(norm(x)))."""

    def __init__(self, norm: nn.Module, mlp: Any, number: int) -> None:
        self._norm, self._number = Norm(norm), number
        self._gate, self._up, self._down = map(Projection, (mlp.gate_proj, mlp.up_proj, mlp.down_proj))

    def parameters(self) -> list[nn.Parameter]:
        """Return everything the output depends on."""
        maps = (self._gate, self._up, self._down)
        return [*(parameter for each in maps for parameter in each.parameters()), self._norm.weight]

    def forward(self, x_XC: torch.Tensor, out_XC: torch.Tensor, run: Pass) -> torch.Tensor:
        """Write the output; return it."""
        normed_XC = self._norm.forward(x_XC, run.buffers("normed", *x_XC.shape), run)
        gate_XF, up_XF = self._kept(len(x_XC), run)
        self._gate.forward(normed_XC, gate_XF, run.buffers)
        self._up.forward(normed_XC, up_XF, run.buffers)
        product_XF = run.buffers("product", *gate_XF.shape)
        kernels.swiglu(gate_XF, up_XF, product_XF, product_XF)
        return self._down.forward(product_XF, out_XC, run.buffers, residual_NO=x_XC)

    def backward(self, grad_XC: torch.Tensor, x_XC: torch.Tensor, run: Pass) -> None:
        """Collect gradients; turn the output's gradient into the input's, in place."""
        gate_XF, up_XF = self._kept(len(x_XC), run)
        silu_XF = run.buffers("silu", *gate_XF.shape)
        product_XF = kernels.swiglu(gate_XF, up_XF, silu_XF, run.buffers("product", *gate_XF.shape))
        self._down.backward(grad_XC, product_XF, run.gradients, run.buffers, product_XF)
        kernels.swiglu_backward(product_XF, gate_XF, up_XF, silu_XF)
        normed_XC = self._norm.again(x_XC, run.buffers("normed", *x_XC.shape), run)
        back_XC = run.buffers("back", *x_XC.shape)
        self._gate.backward(product_XF, normed_XC, run.gradients, run.buffers, back_XC)
        self._up.backward(silu_XF, normed_XC, run.gradients, run.buffers, back_XC, add=True)
        grad_XC += self._norm.backward(back_XC, x_XC, run)

    def _kept(self, rows: int, run: Pass) -> tuple[torch.Tensor, torch.Tensor]:
        gate, up = (
            run.buffers(f"{self._number} {name}", rows, each.out_features)
            for name, each in (("gate", self._gate), ("up", self._up))
        )
        return gate, up
