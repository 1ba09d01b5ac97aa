"""Linear maps of one input with their LoRA adapters, taken from the modules at each pass.

One product gives a map and its adapters. Where nothing is rounded, they are merged into a scratch
matrix before it, W + Σ s·BA, which costs r/N of the product and saves every pass over the activations
that adding them apart would take (N tokens, rank r). Where sides are rounded, W + BA would lose a BA
that is small beside W: there adapters are further columns, [x, xAᵀ] · [W, s·B]ᵀ, which costs r/I more.

Maps that read the same input share what thin products they need: their A lie below each other, their B
are blocks of one matrix, with zeros beside them. Such products cost what their calls cost. Gradients are
rounded into one matrix beside each other, so that the input's comes of one product. Where nothing is
rounded, there is nothing to share, and each map goes on its own.

Not covered, and refused by `known`: dropout, DoRA and other variants, biases of adapters, quantised or
transposed weights.

Shapes: N tokens, I inputs, O outputs of all maps, K ranks of all adapters, J = I + K or O + K.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Any, NamedTuple

import torch
from torch import nn

from realm.training.fast.products import Products
from realm.training.fast.run import Run


class _Adapter(NamedTuple):
    """One adapter of one map: s·BA lies at these outputs and, among all ranks, at these."""

    down: nn.Parameter
    """A (rank, I)."""
    up: nn.Parameter
    """B (outputs, rank)."""
    factor: float
    outputs: slice
    ranks: slice


class Projection:
    """y = x (W + Σ s·BA)ᵀ + b of one or several maps, read from an `nn.Linear` or PEFT's LoRA around one."""

    def __init__(self, *modules: nn.Module) -> None:
        self._modules: tuple[Any, ...] = modules
        self._linears: list[Any] = [
            each if type(each) is nn.Linear else each.base_layer for each in self._modules
        ]
        self.widths = [int(linear.out_features) for linear in self._linears]
        """Outputs of each map."""
        self.in_features = int(self._linears[0].in_features)
        """Width of the input."""
        ends = [*accumulate(self.widths)]
        self._outputs = [slice(end - width, end) for end, width in zip(ends, self.widths, strict=True)]
        self._apart = [Projection(each) for each in modules] if len(modules) > 1 else []

    @staticmethod
    def known(module: nn.Module) -> bool:
        """Tell whether this module computes what this class does."""
        if type(module) is nn.Linear:
            return True
        # A class of PEFT is recognised by its name: a model without adapters never loads PEFT.
        if f"{type(module).__module__}.{type(module).__name__}" != "peft.tuners.lora.layer.Linear":
            return False
        lora: Any = module
        parts = [*lora.lora_A.values(), *lora.lora_B.values()]
        return (
            type(lora.base_layer) is nn.Linear
            and not lora.fan_in_fan_out
            and not lora.lora_variant
            and all(type(part) is nn.Linear and part.bias is None for part in parts)
            and all(type(dropout) is nn.Identity for dropout in lora.lora_dropout.values())
        )

    @property
    def out_features(self) -> int:
        """Outputs of all maps."""
        return sum(self.widths)

    def parameters(self) -> list[nn.Parameter]:
        """Return everything the output depends on."""
        own = [each for linear in self._linears for each in (linear.weight, linear.bias) if each is not None]
        return [*own, *(matrix for adapter in self._adapters() for matrix in (adapter.down, adapter.up))]

    def forward(
        self,
        x_NI: torch.Tensor,
        outs: Sequence[torch.Tensor],
        run: Run,
        residual_NO: torch.Tensor | None = None,
    ) -> None:
        """Write each map's output, plus a residual of a single one, as `Products.write` does."""
        products = run.products
        if self._apart and not products.rounds:
            for each, out_NO in zip(self._apart, outs, strict=True):
                each.forward(x_NI, [out_NO], run)
            return
        run.adapters[self] = self._adapters()
        with run.scratch.frame():
            x_NJ, weights = self._forward_sides(x_NI, run)
            for linear, weight_OJ, out_NO in zip(self._linears, weights, outs, strict=True):
                bias_O = None if linear.bias is None else products.side(linear.bias)
                products.write(x_NJ, weight_OJ.t(), out_NO, residual_NO, bias_O)

    def backward(
        self,
        grads: Sequence[torch.Tensor],
        x_NI: torch.Tensor,
        run: Run,
        into_NI: torch.Tensor | None,
        *,
        add: bool = False,
    ) -> None:
        """Collect gradients of parameters, given those of each map's output; write or add the input's.

        `into_NI`, written as `Products.write` does, may be the memory of `x_NI`, which is read before.
        """
        if self._apart and not run.products.rounds:
            for number, (each, grad_NO) in enumerate(zip(self._apart, grads, strict=True)):
                each.backward([grad_NO], x_NI, run, into_NI, add=add or number > 0)
            return
        for linear, grad_NO in zip(self._linears, grads, strict=True):
            if linear.bias is not None and linear.bias.requires_grad:
                run.gradients.add(linear.bias, grad_NO.sum(0, dtype=linear.bias.dtype))
        products, adapters = run.products, run.adapters[self]
        with run.scratch.frame():
            grad_NO, x_NI = products.beside(grads), products.side(x_NI)
            self._weights_backward(grad_NO, x_NI, run)
            low_NK = products.next_side(grad_NO, self._up(adapters, products)) if adapters else None
            if low_NK is not None:
                self._adapters_backward(adapters, grad_NO, low_NK, x_NI, run)
            if into_NI is not None:
                grad_NJ, weight_JI = self._backward_sides(adapters, grad_NO, low_NK, products)
                products.write(grad_NJ, weight_JI, into_NI, into_NI if add else None)

    def _weights_backward(self, grad_NO: torch.Tensor, x_NI: torch.Tensor, run: Run) -> None:
        if not any(linear.weight.requires_grad for linear in self._linears):
            return
        found_OI = run.products.over_rows(grad_NO, x_NI)
        for linear, outputs in zip(self._linears, self._outputs, strict=True):
            if linear.weight.requires_grad:
                run.gradients.add(linear.weight, found_OI[outputs])

    def _adapters_backward(
        self,
        adapters: list[_Adapter],
        grad_NO: torch.Tensor,
        low_NK: torch.Tensor,
        x_NI: torch.Tensor,
        run: Run,
    ) -> None:
        products = run.products
        if any(adapter.down.requires_grad for adapter in adapters):
            found_KI = products.over_rows(low_NK, x_NI)
            for adapter in adapters:
                if adapter.down.requires_grad:
                    run.gradients.add(adapter.down, found_KI[adapter.ranks])
        if any(adapter.up.requires_grad for adapter in adapters):
            input_NK = run.low.pop(self, None)
            if input_NK is None:
                input_NK = products.next_side(x_NI, self._down(adapters, products).t())
            found_OK = products.over_rows(grad_NO, input_NK)
            for adapter in adapters:
                if adapter.up.requires_grad:
                    found = found_OK[adapter.outputs, adapter.ranks] * adapter.factor
                    run.gradients.add(adapter.up, found)

    def _forward_sides(self, x_NI: torch.Tensor, run: Run) -> tuple[torch.Tensor, Sequence[torch.Tensor]]:
        """Return x (N, J) and the weights (O, J), the adapters in them, in memory of the caller's frame."""
        products, adapters = run.products, run.adapters[self]
        if not adapters:
            return x_NI, [products.side(linear.weight) for linear in self._linears]
        if not products.rounds:
            return x_NI, [self._merged(adapters, products)]
        low_NK = x_NI.new_empty(len(x_NI), adapters[-1].ranks.stop, dtype=products.multiplied_in)
        run.low[self] = products.write(x_NI, self._down(adapters, products).t(), low_NK)
        weight_OJ = products.room(self.out_features, self.in_features + low_NK.shape[1])
        self._fill(weight_OJ)
        self._fill_up(adapters, weight_OJ[:, self.in_features :])
        return products.beside([x_NI, low_NK]), torch.split(weight_OJ, self.widths)

    def _backward_sides(
        self,
        adapters: list[_Adapter],
        grad_NO: torch.Tensor,
        low_NK: torch.Tensor | None,
        products: Products,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the output's gradient (N, J) and the weight (J, I), the same way."""
        outputs = self.out_features
        if low_NK is None:
            return grad_NO, self._weight(products)
        if not products.rounds:
            return grad_NO, self._merged(adapters, products)
        weight_JI = self._fill(products.room(outputs + low_NK.shape[1], self.in_features))
        for adapter in adapters:
            weight_JI[outputs:][adapter.ranks] = adapter.down
        return products.beside([grad_NO, low_NK]), weight_JI

    def _adapters(self) -> list[_Adapter]:
        """Return the adapters that are switched on and not merged into the weight."""
        found: list[_Adapter] = []
        rank = 0
        for module, linear, outputs in zip(self._modules, self._linears, self._outputs, strict=True):
            if module is linear or module.disable_adapters or module.merged:
                continue
            for name in module.active_adapters:
                if name in module.lora_A:
                    down, up = module.lora_A[name].weight, module.lora_B[name].weight
                    ranks = slice(rank, rank + len(down))
                    found.append(_Adapter(down, up, module.scaling[name], outputs, ranks))
                    rank = ranks.stop
        return found

    def _weight(self, products: Products) -> torch.Tensor:
        """Return [W₁; W₂; …] (O, I)."""
        if len(self._linears) == 1:
            return products.side(self._linears[0].weight)
        return self._fill(products.room(self.out_features, self.in_features))

    def _fill(self, room_JJ: torch.Tensor) -> torch.Tensor:
        """Write the weights to the upper left; return all of it."""
        for linear, outputs in zip(self._linears, self._outputs, strict=True):
            room_JJ[outputs, : self.in_features] = linear.weight
        return room_JJ

    def _down(self, adapters: list[_Adapter], products: Products) -> torch.Tensor:
        """Return [A₁; A₂; …] (K, I)."""
        down_KI = products.room(adapters[-1].ranks.stop, self.in_features)
        for adapter in adapters:
            down_KI[adapter.ranks] = adapter.down
        return down_KI

    def _up(self, adapters: list[_Adapter], products: Products) -> torch.Tensor:
        """Return s·B of all adapters as blocks of one matrix (O, K)."""
        return self._fill_up(adapters, products.room(self.out_features, adapters[-1].ranks.stop))

    def _fill_up(self, adapters: list[_Adapter], room_OK: torch.Tensor) -> torch.Tensor:
        room_OK.zero_()
        for adapter in adapters:
            room_OK[adapter.outputs, adapter.ranks] = adapter.up * adapter.factor
        return room_OK

    def _merged(self, adapters: list[_Adapter], products: Products) -> torch.Tensor:
        """Return W + Σ s·BA (O, I) of a single map."""
        up_OK, down_KI = self._up(adapters, products), self._down(adapters, products)
        room_OI = products.room(self.out_features, self.in_features)
        return torch.addmm(products.side(self._linears[0].weight), up_OK, down_KI, out=room_OI)
