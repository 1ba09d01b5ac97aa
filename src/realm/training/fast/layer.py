"""A decoder layer's two halves, attention and MLP, each with its backward pass.

Kept for the backward pass: a half's input, raw queries and keys, values, attention's output, gate
and up. Norms, rotations and SwiGLU are computed again, which is cheaper than reading them back.

Shapes: N tokens, M places that predict, X either of them, C hidden size, H heads, D head size,
O = H · D, F width of the MLP.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from realm.training.attention import Groups
from realm.training.fast import kernels
from realm.training.fast.buffers import Buffers, Scratch
from realm.training.fast.products import Products
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
    products: Products
    scales: dict[Norm, torch.Tensor] = field(default_factory=dict)
    """1 / rms of each row that a norm has seen."""
    sums: dict[Attention, list[torch.Tensor]] = field(default_factory=dict)
    """Log-sum-exps of attention, for each group of rows."""
    gradients: Gradients = field(default_factory=Gradients)

    @property
    def scratch(self) -> Scratch:
        """Memory for what is forgotten soon."""
        return self.products.scratch


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
        with run.scratch.frame():
            room = (run.scratch.take(*x_NC.shape), run.scratch.take(*x_NC.shape))
            parts_NC = kernels.norm_backward(grad_NC, x_NC, self.weight, run.scales[self], room)
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
        """Return the heads (X, H, D), in scratch memory of the caller's frame."""
        raw_XHD = self._raw(len(x_XC), run)
        self.projection.forward(x_XC, raw_XHD.flatten(1), run.products)
        return self._turned(raw_XHD, angles, run, None if self.norm is None else self.norm.forward)

    def again(self, rows: int, angles: Angles, run: Pass) -> torch.Tensor:
        """Return once more what `forward` returned."""
        return self._turned(self._raw(rows, run), angles, run, None if self.norm is None else self.norm.again)

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
        with run.scratch.frame():
            back_XHD = kernels.rotate(grad_XHD, *angles, run.scratch.take(*grad_XHD.shape), sign=-1)
            if self.norm is not None:
                self.norm.backward(back_XHD.flatten(0, 1), raw_XHD.flatten(0, 1), run)
            self.projection.backward(back_XHD.flatten(1), x_XC, run.gradients, run.products, into_XC, add=add)

    def _raw(self, rows: int, run: Pass) -> torch.Tensor:
        heads = self.projection.out_features // self._head_dim
        return run.buffers(f"{self._number} {self._letter}", rows, heads, self._head_dim)

    def _turned(
        self, raw_XHD: torch.Tensor, angles: Angles, run: Pass, norm: Callable[..., torch.Tensor] | None
    ) -> torch.Tensor:
        turned_XHD = run.scratch.take(*raw_XHD.shape)
        if norm is None:
            return kernels.rotate(raw_XHD, *angles, turned_XHD)
        with run.scratch.frame():
            normed_XHD = run.scratch.take(*raw_XHD.shape)
            norm(raw_XHD.flatten(0, 1), normed_XHD.flatten(0, 1), run)
            return kernels.rotate(normed_XHD, *angles, turned_XHD)


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
        found_NHD, value_NGD = self._attended(len(x_NC), run), self._values(len(x_NC), run)
        with run.scratch.frame():
            normed_NC = run.products.side(self._norm.forward(x_NC, run.scratch.take(*x_NC.shape), run))
            query = self._query.forward(self._choose(normed_NC, run), self._angles(run), run)
            query_NHD = self._spread(query, len(x_NC), run)
            key_NGD = self._key.forward(normed_NC, run.angles, run)
            self._value.forward(normed_NC, value_NGD.flatten(1), run.products)
            run.sums[self] = kernels.attend(query_NHD, key_NGD, value_NGD, run.groups, self._scale, found_NHD)
        found_XO = self._choose(found_NHD.flatten(1), run)
        return self._out.forward(found_XO, out_XC, run.products, residual_NO=self._choose(x_NC, run))

    def backward(
        self, grad_XC: torch.Tensor, x_NC: torch.Tensor, run: Pass, *, further: bool
    ) -> torch.Tensor:
        """Return the input's gradient (N, C), in memory of the output's where it fits.

        Without `further` nobody needs it: what is returned then has no meaning.
        """
        with run.scratch.frame():
            grads = self._attend_backward(grad_XC, len(x_NC), run)
            onward = further or self._norm.weight.requires_grad
            back_NC = run.scratch.take(*x_NC.shape) if onward else None
            self._inputs_backward(grads, x_NC, run, back_NC)
            if back_NC is None:
                return grad_XC
            if not self._chosen:
                return grad_XC.add_(back_NC)
            grad_NC = run.buffers("grad", *x_NC.shape).copy_(back_NC)
        return grad_NC.index_add_(0, run.places_M, grad_XC)

    def _attend_backward(self, grad_XC: torch.Tensor, tokens: int, run: Pass) -> list[torch.Tensor]:
        """Return the gradients of queries, keys and values, in scratch memory of the caller's frame."""
        found_NHD, value_NGD = self._attended(tokens, run), self._values(tokens, run)
        shapes = (found_NHD.shape, value_NGD.shape, value_NGD.shape)
        grads = [run.scratch.take(*shape) for shape in shapes]
        with run.scratch.frame():
            query_XHD = self._query.again(len(grad_XC), self._angles(run), run)
            query_NHD = self._spread(query_XHD, tokens, run)
            key_NGD = self._key.again(tokens, run.angles, run)
            grad_XHD = run.scratch.take(*query_XHD.shape)
            found_XO = self._choose(found_NHD.flatten(1), run)
            self._out.backward(grad_XC, found_XO, run.gradients, run.products, grad_XHD.flatten(1))
            grad_NHD = self._spread(grad_XHD, tokens, run)
            tensors = (grad_NHD, query_NHD, key_NGD, value_NGD, found_NHD)
            kernels.attend_backward(tensors, run.sums.pop(self), run.groups, self._scale, grads)
        return grads

    def _inputs_backward(
        self, grads: list[torch.Tensor], x_NC: torch.Tensor, run: Pass, into_NC: torch.Tensor | None
    ) -> None:
        query_grad, key_grad, value_grad = grads
        with run.scratch.frame():
            normed_NC = run.products.side(self._norm.again(x_NC, run.scratch.take(*x_NC.shape), run))
            self._key.backward(key_grad, normed_NC, run.angles, run, into_NC, add=False)
            value_NX = value_grad.flatten(1)
            self._value.backward(value_NX, normed_NC, run.gradients, run.products, into_NC, add=True)
            normed_XC, query_grad = self._choose(normed_NC, run), self._choose(query_grad, run)
            if not self._chosen or into_NC is None:
                self._query.backward(query_grad, normed_XC, self._angles(run), run, into_NC, add=True)
            else:
                part_MC = run.scratch.take(*normed_XC.shape)
                self._query.backward(query_grad, normed_XC, self._angles(run), run, part_MC, add=False)
                into_NC.index_add_(0, run.places_M, part_MC)
        if into_NC is not None:
            self._norm.backward(into_NC, x_NC, run)

    def _attended(self, tokens: int, run: Pass) -> torch.Tensor:
        heads = self._query.projection.out_features // self._head_dim
        return run.buffers(f"{self._number} attended", tokens, heads, self._head_dim)

    def _values(self, tokens: int, run: Pass) -> torch.Tensor:
        heads = self._value.out_features // self._head_dim
        return run.buffers(f"{self._number} v", tokens, heads, self._head_dim)

    def _angles(self, run: Pass) -> Angles:
        return (self._choose(run.angles[0], run), self._choose(run.angles[1], run))

    def _choose(self, x_N: torch.Tensor, run: Pass) -> torch.Tensor:
        return x_N.index_select(0, run.places_M) if self._chosen else x_N

    def _spread(self, x_XHD: torch.Tensor, tokens: int, run: Pass) -> torch.Tensor:
        if not self._chosen:
            return x_XHD
        spread_NHD = run.scratch.take(tokens, *x_XHD.shape[1:]).zero_()
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
        gate_XF, up_XF = self._kept(len(x_XC), run)
        with run.scratch.frame():
            normed_XC = run.products.side(self._norm.forward(x_XC, run.scratch.take(*x_XC.shape), run))
            self._gate.forward(normed_XC, gate_XF, run.products)
            self._up.forward(normed_XC, up_XF, run.products)
            product_XF = run.scratch.take(*gate_XF.shape)
            kernels.swiglu(gate_XF, up_XF, product_XF, product_XF)
            return self._down.forward(product_XF, out_XC, run.products, residual_NO=x_XC)

    def backward(self, grad_XC: torch.Tensor, x_XC: torch.Tensor, run: Pass) -> None:
        """Collect gradients; turn the output's gradient into the input's, in place."""
        with run.scratch.frame():
            back_XC = run.scratch.take(*x_XC.shape)
            self._maps_backward(grad_XC, x_XC, run, back_XC)
            grad_XC += self._norm.backward(back_XC, x_XC, run)

    def _maps_backward(
        self, grad_XC: torch.Tensor, x_XC: torch.Tensor, run: Pass, into_XC: torch.Tensor
    ) -> None:
        gate_XF, up_XF = self._kept(len(x_XC), run)
        with run.scratch.frame():
            silu_XF, product_XF = (run.scratch.take(*gate_XF.shape) for _ in range(2))
            kernels.swiglu(gate_XF, up_XF, silu_XF, product_XF)
            self._down.backward(grad_XC, product_XF, run.gradients, run.products, product_XF)
            kernels.swiglu_backward(product_XF, gate_XF, up_XF, silu_XF)
            normed_XC = run.products.side(self._norm.again(x_XC, run.scratch.take(*x_XC.shape), run))
            self._gate.backward(product_XF, normed_XC, run.gradients, run.products, into_XC)
            self._up.backward(silu_XF, normed_XC, run.gradients, run.products, into_XC, add=True)

    def _kept(self, rows: int, run: Pass) -> tuple[torch.Tensor, torch.Tensor]:
        gate, up = (
            run.buffers(f"{self._number} {name}", rows, each.out_features)
            for name, each in (("gate", self._gate), ("up", self._up))
        )
        return gate, up
