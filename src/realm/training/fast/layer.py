"""A decoder layer's two halves, attention and MLP, each with its backward pass.

Kept for the backward pass: a half's input, what its first product writes (raw queries, keys and values;
gate and up), attention's output. Norms, rotations and SwiGLU are computed again: they would be read back
hardly faster. Where products are rounded, what they write takes half the memory; turned queries and keys
are kept in the other half.

Shapes: N tokens, M places that predict, X either of them, C hidden size, H heads, D head size,
O = H · D, F width of the MLP.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn

from realm.training.fast import kernels
from realm.training.fast.attention import attend, attend_backward
from realm.training.fast.projection import Projection
from realm.training.fast.run import Angles, Run


class Norm:
    """RMSNorm, read from transformers' module."""

    def __init__(self, module: Any) -> None:
        self._module = module
        self._eps: float = module.variance_epsilon

    @property
    def weight(self) -> nn.Parameter:
        """Return the module's own, which may have been exchanged since the last pass."""
        return self._module.weight  # type: ignore[no-any-return]

    def forward(self, x_NC: torch.Tensor, out_NC: torch.Tensor, run: Run) -> torch.Tensor:
        """Write the normed x; return it. The second time in a pass it knows the scales."""
        if self not in run.scales:
            run.scales[self] = kernels.norm_scale(x_NC, self._eps)
        return torch.mul(x_NC, run.scales[self], out=out_NC).mul_(self.weight)

    def side(self, x_NC: torch.Tensor, run: Run) -> torch.Tensor:
        """Return the normed x as one side of a product, in scratch memory of the caller's frame."""
        return run.products.side(self.forward(x_NC, run.scratch.take(*x_NC.shape), run))

    def backward(self, grad_NC: torch.Tensor, x_NC: torch.Tensor, run: Run) -> torch.Tensor:
        """Turn the output's gradient into the input's, in place; return it."""
        with run.scratch.frame():
            room = (run.scratch.take(*x_NC.shape), run.scratch.take(*x_NC.shape))
            parts_NC = kernels.norm_backward(grad_NC, x_NC, self.weight, run.scales[self], room)
            if self.weight.requires_grad:
                run.gradients.add(self.weight, parts_NC.sum(0))
        return grad_NC


class TurnedHeads:
    """Queries or keys as projected, then normed a head where the build does so, turned by position."""

    def __init__(self, attention: Any, letter: str, number: int) -> None:
        norm = getattr(attention, f"{letter}_norm", None)
        self.norm = None if norm is None else Norm(norm)
        self._name = f"{number} turned {letter}"

    def forward(self, raw_XHD: torch.Tensor, angles: Angles, run: Run) -> torch.Tensor:
        """Return the heads (X, H, D), kept where `again` will need them, else in the caller's frame."""
        turned_XHD = self._room(raw_XHD, run)
        with run.scratch.frame():
            exact_XHD = run.products.exact(raw_XHD)
            if self.norm is not None:
                normed_XHD = run.scratch.take(*raw_XHD.shape)
                self.norm.forward(exact_XHD.flatten(0, 1), normed_XHD.flatten(0, 1), run)
                exact_XHD = normed_XHD
            return kernels.rotate(exact_XHD, *angles, turned_XHD)

    def again(self, raw_XHD: torch.Tensor, angles: Angles, run: Run) -> torch.Tensor:
        """Return once more what `forward` returned."""
        return self._room(raw_XHD, run) if run.products.rounds else self.forward(raw_XHD, angles, run)

    def backward(
        self, grad_XHD: torch.Tensor, raw_XHD: torch.Tensor, angles: Angles, run: Run
    ) -> torch.Tensor:
        """Collect gradients; return that of what was projected (X, H · D), in memory as above."""
        back_XHD = kernels.rotate(grad_XHD, *angles, run.scratch.take(*grad_XHD.shape), sign=-1)
        if self.norm is not None:
            with run.scratch.frame():
                exact_XHD = run.products.exact(raw_XHD)
                self.norm.backward(back_XHD.flatten(0, 1), exact_XHD.flatten(0, 1), run)
        return back_XHD.flatten(1)

    def _room(self, raw_XHD: torch.Tensor, run: Run) -> torch.Tensor:
        shape = raw_XHD.shape
        return run.buffers(self._name, *shape) if run.products.rounds else run.scratch.take(*shape)


class Attention:
    """y = x + o(attention(norm(x))), everywhere or where something is predicted."""

    def __init__(self, norm: nn.Module, attention: Any, number: int, *, chosen: bool) -> None:
        self._norm = Norm(norm)
        self._query, self._key = (TurnedHeads(attention, letter, number) for letter in "qk")
        query, key, value = attention.q_proj, attention.k_proj, attention.v_proj
        # Only chosen places have queries in the last layer.
        self._maps = (
            (Projection(query), Projection(key, value)) if chosen else (Projection(query, key, value),)
        )
        self._out = Projection(attention.o_proj)
        self._head_dim: int = attention.head_dim
        self._scale: float = attention.scaling
        self._number, self._chosen = number, chosen
        self.heads, _, self.key_heads = (
            width // self._head_dim for each in self._maps for width in each.widths
        )
        """Heads of queries, and of keys."""

    def parameters(self) -> list[nn.Parameter]:
        """Return everything the output depends on."""
        norms = (self._norm, self._query.norm, self._key.norm)
        return [
            *(parameter for each in (*self._maps, self._out) for parameter in each.parameters()),
            *(norm.weight for norm in norms if norm is not None),
        ]

    def forward(self, x_NC: torch.Tensor, out_XC: torch.Tensor, run: Run) -> torch.Tensor:
        """Write the output (N, C), or (M, C) in the last layer; return it."""
        found_NHD, raw = self._attended(len(x_NC), run), self._raw(len(x_NC), run)
        with run.scratch.frame():
            normed_NC = self._norm.side(x_NC, run)
            for each, input_XC, outs in self._by_map(normed_NC, raw, run):
                each.forward(input_XC, [out.flatten(1) for out in outs], run)
            heads = self._turned(raw, run, TurnedHeads.forward)
            attend(heads, run.rows, self._scale, found_NHD, run.scratch)
        found_XO, residual_XC = self._choose(found_NHD.flatten(1), run), self._choose(x_NC, run)
        self._out.forward(found_XO, [out_XC], run, residual_XC)
        return out_XC

    def backward(self, grad_XC: torch.Tensor, x_NC: torch.Tensor, run: Run, *, further: bool) -> torch.Tensor:
        """Return the input's gradient (N, C), in memory of the output's where it fits.

        Without `further` nobody needs it: what is returned then has no meaning.
        """
        with run.scratch.frame():
            onward = further or self._norm.weight.requires_grad
            back_NC = run.scratch.take(*x_NC.shape) if onward else None
            with run.scratch.frame():
                self._maps_backward(self._raw_backward(grad_XC, len(x_NC), run), x_NC, run, back_NC)
            if back_NC is None:
                return grad_XC
            self._norm.backward(back_NC, x_NC, run)
            if not self._chosen:
                return grad_XC.add_(back_NC)
            grad_NC = run.buffers("grad", *x_NC.shape).copy_(back_NC)
        return grad_NC.index_add_(0, run.places_M, grad_XC)

    def _raw_backward(self, grad_XC: torch.Tensor, tokens: int, run: Run) -> list[torch.Tensor]:
        """Return the gradients of raw queries, keys and values, in scratch memory of the caller's frame."""
        query, key, _ = raw = self._raw(tokens, run)
        grads = [run.scratch.take(tokens, *each.shape[1:]) for each in raw]
        self._heads_backward(grad_XC, raw, run, grads)
        return [
            self._query.backward(self._choose(grads[0], run), query, self._angles(run), run),
            self._key.backward(grads[1], key, run.angles, run),
            grads[2].flatten(1),
        ]

    def _heads_backward(
        self, grad_XC: torch.Tensor, raw: list[torch.Tensor], run: Run, into: list[torch.Tensor]
    ) -> None:
        """Write the gradients of what attention was given: turned queries and keys, values."""
        tokens = len(raw[1])
        with run.scratch.frame():
            heads = self._turned(raw, run, TurnedHeads.again)
            grad_XHD = run.scratch.take(*raw[0].shape)
            found_XO = self._choose(self._attended(tokens, run).flatten(1), run)
            self._out.backward([grad_XC], found_XO, run, grad_XHD.flatten(1))
            grad_NHD = self._spread(grad_XHD, tokens, run)
            attend_backward(grad_NHD, heads, run.rows, self._scale, into, run.scratch)

    def _maps_backward(
        self, grads: list[torch.Tensor], x_NC: torch.Tensor, run: Run, into_NC: torch.Tensor | None
    ) -> None:
        """Collect gradients of the maps; write their input's."""
        with run.scratch.frame():
            normed_NC = self._norm.side(x_NC, run)
            *chosen, (each, input_NC, given) = self._by_map(normed_NC, grads, run)
            each.backward(given, input_NC, run, into_NC)
            for each, input_MC, given in chosen:
                part_MC = None if into_NC is None else run.scratch.take(*input_MC.shape)
                each.backward(given, input_MC, run, part_MC)
                if into_NC is not None and part_MC is not None:
                    into_NC.index_add_(0, run.places_M, part_MC)

    def _by_map(
        self, normed_NC: torch.Tensor, of_outputs: list[torch.Tensor], run: Run
    ) -> Iterator[tuple[Projection, torch.Tensor, list[torch.Tensor]]]:
        """Yield each projection with its input and its outputs' share; the last one reads all tokens."""
        rest = [*of_outputs]
        for each in self._maps:
            inputs = normed_NC if each is self._maps[-1] else self._choose(normed_NC, run)
            yield each, inputs, rest[: len(each.widths)]
            del rest[: len(each.widths)]

    def _turned(
        self, raw: list[torch.Tensor], run: Run, turn: Callable[..., torch.Tensor]
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return queries, keys and values as attention takes them, in memory of the caller's frame."""
        query = self._spread(turn(self._query, raw[0], self._angles(run), run), len(raw[1]), run)
        return query, turn(self._key, raw[1], run.angles, run), run.products.exact(raw[2])

    def _raw(self, tokens: int, run: Run) -> list[torch.Tensor]:
        """Return what the maps write: queries (X, H, D), keys and values (N, G, D)."""
        chosen = len(run.places_M) if self._chosen else tokens
        shapes = {"q": (chosen, self.heads), "k": (tokens, self.key_heads), "v": (tokens, self.key_heads)}
        return [
            run.buffers(f"{self._number} {name}", *shape, self._head_dim, dtype=run.products.multiplied_in)
            for name, shape in shapes.items()
        ]

    def _attended(self, tokens: int, run: Run) -> torch.Tensor:
        return run.buffers(f"{self._number} attended", tokens, self.heads, self._head_dim)

    def _angles(self, run: Run) -> Angles:
        return (self._choose(run.angles[0], run), self._choose(run.angles[1], run))

    def _choose(self, x_N: torch.Tensor, run: Run) -> torch.Tensor:
        return x_N.index_select(0, run.places_M) if self._chosen else x_N

    def _spread(self, x_XHD: torch.Tensor, tokens: int, run: Run) -> torch.Tensor:
        if not self._chosen:
            return x_XHD
        spread_NHD = run.scratch.take(tokens, *x_XHD.shape[1:]).zero_()
        return spread_NHD.index_copy_(0, run.places_M, x_XHD)


class MLP:
    """y = x + down(silu(gate(norm(x))) · up(norm(x)))."""

    def __init__(self, norm: nn.Module, mlp: Any, number: int) -> None:
        self._norm, self._number = Norm(norm), number
        self._gate_and_up, self._down = Projection(mlp.gate_proj, mlp.up_proj), Projection(mlp.down_proj)

    def parameters(self) -> list[nn.Parameter]:
        """Return everything the output depends on."""
        return [*self._gate_and_up.parameters(), *self._down.parameters(), self._norm.weight]

    def forward(self, x_XC: torch.Tensor, out_XC: torch.Tensor, run: Run) -> torch.Tensor:
        """Write the output; return it."""
        gate_XF, up_XF = self._inner(len(x_XC), run)
        with run.scratch.frame():
            normed_XC = self._norm.side(x_XC, run)
            self._gate_and_up.forward(normed_XC, [gate_XF, up_XF], run)
            product_XF = run.products.room(*gate_XF.shape)
            kernels.swiglu(gate_XF, up_XF, product_XF, product_XF)
            self._down.forward(product_XF, [out_XC], run, x_XC)
        return out_XC

    def backward(self, grad_XC: torch.Tensor, x_XC: torch.Tensor, run: Run) -> None:
        """Collect gradients; turn the output's gradient into the input's, in place."""
        with run.scratch.frame():
            back_XC = run.scratch.take(*x_XC.shape)
            self._maps_backward(grad_XC, x_XC, run, back_XC)
            grad_XC += self._norm.backward(back_XC, x_XC, run)

    def _maps_backward(
        self, grad_XC: torch.Tensor, x_XC: torch.Tensor, run: Run, into_XC: torch.Tensor
    ) -> None:
        gate_XF, up_XF = self._inner(len(x_XC), run)
        with run.scratch.frame():
            silu_XF, product_XF = (run.products.room(*gate_XF.shape) for _ in range(2))
            kernels.swiglu(gate_XF, up_XF, silu_XF, product_XF)
            self._down.backward([grad_XC], product_XF, run, product_XF)
            kernels.swiglu_backward(product_XF, gate_XF, up_XF, silu_XF)
            normed_XC = self._norm.side(x_XC, run)
            self._gate_and_up.backward([product_XF, silu_XF], normed_XC, run, into_XC)

    def _inner(self, rows: int, run: Run) -> list[torch.Tensor]:
        """Return gate and up (X, F)."""
        return [
            run.buffers(f"{self._number} {name}", rows, width, dtype=run.products.multiplied_in)
            for name, width in zip(("gate", "up"), self._gate_and_up.widths, strict=True)
        ]
