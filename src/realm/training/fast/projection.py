"""A linear map with its LoRA adapters, taken from the modules at each pass.

One product gives both. Where nothing is rounded, adapters are merged into a scratch matrix before it,
W + Σ s·BA, which costs r/N of the product and saves every pass over the activations that adding them
apart would take (N tokens, rank r). Where sides are rounded, W + BA would lose a BA that is small
beside W: there adapters are further columns, [x, xAᵀ] · [W, s·B]ᵀ, which costs r/I more.

Not covered, and refused by `known`: dropout, DoRA and other variants, biases of adapters, quantised or
transposed weights.

Shapes: N tokens, I inputs, O outputs, K rank, J inputs or outputs and the ranks of all adapters.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from realm.training.fast.products import Products

Adapter = tuple[nn.Parameter, nn.Parameter, float]
"""A (K, I), B (O, K) and their factor."""


class Gradients:
    """Gradients of the trained parameters, summed over everything that uses them."""

    def __init__(self) -> None:
        self._found: dict[nn.Parameter, torch.Tensor] = {}

    def add(self, parameter: nn.Parameter, gradient: torch.Tensor) -> None:
        """Add a gradient that the caller will not touch again."""
        if parameter in self._found:
            self._found[parameter].add_(gradient)
        else:
            self._found[parameter] = gradient

    def pop(self, parameter: nn.Parameter) -> torch.Tensor | None:
        """Take out what was found, none where nothing was."""
        return self._found.pop(parameter, None)


class Projection:
    """y = x (W + Σ s·BA)ᵀ + b, read from an `nn.Linear` or PEFT's LoRA around one."""

    def __init__(self, module: nn.Module) -> None:
        self._module: Any = module
        self._linear: Any = module if type(module) is nn.Linear else self._module.base_layer

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
        return int(self._linear.out_features)

    def adapters(self) -> list[Adapter]:
        """Return the adapters that are switched on and not merged into the weight."""
        lora = self._module
        if lora is self._linear or lora.disable_adapters or lora.merged:
            return []
        names = [name for name in lora.active_adapters if name in lora.lora_A]
        return [(lora.lora_A[n].weight, lora.lora_B[n].weight, lora.scaling[n]) for n in names]

    def parameters(self) -> list[nn.Parameter]:
        """Return everything the output depends on."""
        own = [self._linear.weight] if self._linear.bias is None else [self._linear.weight, self._linear.bias]
        return [*own, *(matrix for a, b, _ in self.adapters() for matrix in (a, b))]

    def forward(
        self,
        x_NI: torch.Tensor,
        out_NO: torch.Tensor,
        products: Products,
        residual_NO: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Write the output, plus a residual; return it."""
        with products.scratch.frame():
            x_NJ, weight_OJ = self._forward_sides(x_NI, products)
            products.write(x_NJ, weight_OJ.t(), out_NO, residual_NO)
        return out_NO if self._linear.bias is None else out_NO.add_(self._linear.bias)

    def backward(
        self,
        grad_NO: torch.Tensor,
        x_NI: torch.Tensor,
        gradients: Gradients,
        products: Products,
        into_NI: torch.Tensor | None,
        *,
        add: bool = False,
    ) -> None:
        """Collect gradients of parameters; write the input's into `into_NI`, or add them to it.

        `into_NI` may be the memory of `x_NI`, which is read before.
        """
        weight, bias = self._linear.weight, self._linear.bias
        if bias is not None and bias.requires_grad:
            gradients.add(bias, grad_NO.sum(0))
        with products.scratch.frame():
            grad_NO = products.side(grad_NO)
            if weight.requires_grad:
                gradients.add(weight, products.over_rows(grad_NO, x_NI))
            low = [products.next_side(grad_NO, b_OK) for _, b_OK, _ in self.adapters()]
            for (a_KI, b_OK, factor), low_NK in zip(self.adapters(), low, strict=True):
                if b_OK.requires_grad:
                    found_OK = products.over_rows(grad_NO, products.next_side(x_NI, a_KI.t()))
                    gradients.add(b_OK, found_OK.mul_(factor))
                if a_KI.requires_grad:
                    gradients.add(a_KI, products.over_rows(low_NK, x_NI).mul_(factor))
            if into_NI is not None:
                grad_NJ, weight_JI = self._backward_sides(grad_NO, low, products)
                products.write(grad_NJ, weight_JI, into_NI, into_NI if add else None)

    def _forward_sides(self, x_NI: torch.Tensor, products: Products) -> tuple[torch.Tensor, torch.Tensor]:
        """Return x (N, J) and the weight (O, J), the adapters in them, in memory of the caller's frame."""
        adapters = self.adapters()
        if not adapters or not products.rounds:
            return x_NI, self._merged(adapters, products)
        x_NI = products.side(x_NI)
        low = [products.next_side(x_NI, a_KI.t()) for a_KI, _, _ in adapters]
        up = [b_OK * factor for _, b_OK, factor in adapters]
        return products.joined([x_NI, *low], 1), products.joined([self._linear.weight, *up], 1)

    def _backward_sides(
        self, grad_NO: torch.Tensor, low: list[torch.Tensor], products: Products
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the output's gradient (N, J) and the weight (J, I), the same way."""
        adapters = self.adapters()
        if not adapters or not products.rounds:
            return grad_NO, self._merged(adapters, products)
        up = [a_KI * factor for a_KI, _, factor in adapters]
        return products.joined([grad_NO, *low], 1), products.joined([self._linear.weight, *up], 0)

    def _merged(self, adapters: list[Adapter], products: Products) -> torch.Tensor:
        weight_OI = products.side(self._linear.weight)
        if not adapters:
            return weight_OI
        merged_OI = products.scratch.take(*weight_OI.shape)
        for a_KI, b_OK, factor in adapters:
            weight_OI = torch.addmm(weight_OI, b_OK, a_KI, alpha=factor, out=merged_OI)
        return weight_OI
