"""Norms, gradients and drift of a model's trained weights, layer by layer.

A layer is `embed`, `layers.0` …, `norm` (after the last layer), `head`, `vision` or `other`. Drift is the
distance from the weights that the run began with, relative to their norm. It is exact: the beginning
is read from its files one tensor at a time, so that no copy of the model is held, and a resumed run
measures from the same place. Of LoRA it is the distance of the products, ‖s(BA − B₀A₀)‖ / ‖W‖,
computed from the factors without making a matrix of W's size; a fresh adapter has B₀A₀ = 0.

Nothing here draws random numbers, keeps a graph or writes to a tensor. Not covered: weights that are
spread over several processes; DoRA's magnitudes, which count in the norm and not in the drift; trained
weights that the files hold under a name that is not the model's, stacked experts aside.

Shapes: E experts (1 where there are none), R rank, I inputs, O outputs.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import torch
from peft import PeftModel
from peft.utils.integrations import dequantize_module_weight
from safetensors import safe_open
from transformers import PreTrainedModel

from realm.models.adapters import NAME, WEIGHTS

_WRAPPER = "base_model.model."
_LAYER = re.compile(r"(?:^|\.)layers\.(\d+)\.")
_VISION = re.compile(r"(?:^|\.)(?:visual|vision_\w+)\.")
_NAMED = (("embed", re.compile(r"(?:^|\.)embed_tokens\.")), ("head", re.compile(r"(?:^|\.)lm_head\.")))
_LAST_NORM = re.compile(r"(?:^|\.)norm\.weight$")
_FACTOR = re.compile(rf"(?P<module>.+)\.lora_(?:embedding_)?(?P<factor>[AB])\.{NAME}(?:\.weight)?$")
_EXPERTS = re.compile(r"(?P<where>.+\.experts)\.(?P<stack>gate_up_proj|down_proj)$")
_PARTS = {"gate_up_proj": ("gate_proj", "up_proj"), "down_proj": ("down_proj",)}
"""What files call the matrices that lie stacked in one parameter."""


class Measures(NamedTuple):
    """Figures by layer, in the model's order."""

    norms: dict[str, float]
    """Euclidean norm of a layer's trained parameters."""
    gradients: dict[str, float]
    """Norm of a layer's gradient; layers without one are left out."""
    drift: dict[str, float]
    """Distance from the beginning, relative to its norm."""


def layer_of(parameter: str) -> str:
    """Return the layer that a parameter belongs to, by its name."""
    if _VISION.search(parameter):
        return "vision"
    if found := _LAYER.search(parameter):
        return f"layers.{found[1]}"
    for layer, pattern in _NAMED:
        if pattern.search(parameter):
            return layer
    return "norm" if _LAST_NORM.search(parameter) else "other"


class Layers:
    """Measures one model in training against the folder that its run began from."""

    def __init__(self, model: PreTrainedModel | PeftModel, origin: Path) -> None:
        self._model = model
        self._origin = origin
        self._bases: dict[str, float] = {}
        """Norms of the frozen weights under an adapter, which never change."""

    @torch.no_grad()
    def measure(self, gradient_scale: float = 1.0) -> Measures:
        """Measure weights and gradients as they are now.

        `gradient_scale` is what clipping has multiplied the gradients by; it is taken out again.
        Raises what reading the origin's files raises.
        """
        norms, gradients = _Squares(), _Squares()
        for name, parameter in self._model.named_parameters():
            if parameter.requires_grad:
                norms.add(layer_of(name), _norm(parameter))
                if parameter.grad is not None:
                    gradients.add(layer_of(name), _norm(parameter.grad) / gradient_scale)
        return Measures(norms.roots(), gradients.roots(), self._drift())

    def _drift(self) -> dict[str, float]:
        distances, beginnings = _Squares(), _Squares()
        with ExitStack() as stack:
            origin = _Tensors(self._origin, stack)
            for name, distance, beginning in (*self._of_weights(origin), *self._of_adapter(origin)):
                distances.add(layer_of(name), distance)
                beginnings.add(layer_of(name), beginning)
        begun = beginnings.roots()
        return {layer: moved / begun[layer] for layer, moved in distances.roots().items() if begun[layer]}

    def _of_weights(self, origin: _Tensors) -> Iterator[tuple[str, float, float]]:
        """Yield each trained weight's name, its distance from the beginning, and that one's norm."""
        for name, parameter in self._model.named_parameters():
            if parameter.requires_grad and not _FACTOR.match(name):
                for now, before in origin.pairs(name.removeprefix(_WRAPPER), parameter):
                    begun = before.to(parameter)
                    yield name, _norm(now - begun), _norm(begun)

    def _of_adapter(self, origin: _Tensors) -> Iterator[tuple[str, float, float]]:
        """Yield each adapted matrix's name, its distance from the beginning, and its base's norm."""
        factors: dict[str, dict[str, tuple[str, torch.Tensor]]] = defaultdict(dict)
        for name, parameter in self._model.named_parameters():
            if parameter.requires_grad and (found := _FACTOR.match(name)):
                factors[found["module"]][found["factor"]] = (name, parameter)
        for path, pair in factors.items():
            module: Any = self._model.get_submodule(path)
            experts = int(getattr(module, "num_experts", 1))
            (name_a, a), (name_b, b) = pair["A"], pair["B"]
            a_ERI, b_EOR = _stacked(a, b, experts)
            begun_a, begun_b = origin.find(_on_disk(name_a)), origin.find(_on_disk(name_b))
            if begun_a is not None and begun_b is not None:
                begun_a_ERI, begun_b_EOR = _stacked(begun_a.to(a), begun_b.to(b), experts)
                a_ERI, b_EOR = torch.cat([a_ERI, begun_a_ERI], 1), torch.cat([b_EOR, -begun_b_EOR], 2)
            if path not in self._bases:
                self._bases[path] = _base_norm(module)
            yield path + ".", module.scaling[NAME] * _product_norm(a_ERI, b_EOR), self._bases[path]


class _Squares:
    """Sums of squares by layer."""

    def __init__(self) -> None:
        self._sums: dict[str, float] = defaultdict(float)

    def add(self, layer: str, norm: float) -> None:
        self._sums[layer] += norm * norm

    def roots(self) -> dict[str, float]:
        return {layer: math.sqrt(total) for layer, total in self._sums.items()}


class _Tensors:
    """The tensors in a folder's safetensors files, read when they are asked for."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self._files: dict[str, Any] = {}
        for path in sorted(folder.glob("*.safetensors")):
            if path.name == WEIGHTS or path.name.startswith("model"):
                file = stack.enter_context(safe_open(path, framework="pt"))
                self._files.update(dict.fromkeys(file.keys(), file))

    def find(self, name: str) -> torch.Tensor | None:
        """Return a tensor by its name in the files; none where no file has it."""
        file = self._files.get(name)
        return None if file is None else file.get_tensor(name)

    def pairs(self, name: str, parameter: torch.Tensor) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Yield parts of a parameter with what the files hold for them; nothing where they do not."""
        whole = self.find(name)
        if whole is not None:
            yield parameter, whole
            return
        if found := _EXPERTS.match(name):
            for expert, now in enumerate(parameter):
                parts = [
                    self.find(f"{found['where']}.{expert}.{part}.weight") for part in _PARTS[found["stack"]]
                ]
                if all(part is not None for part in parts):
                    yield now, torch.cat([part for part in parts if part is not None])


def _on_disk(name: str) -> str:
    """Return the name under which PEFT stores an adapter's parameter."""
    return name.replace(f".{NAME}.", ".").removesuffix(f".{NAME}")


def _stacked(a: torch.Tensor, b: torch.Tensor, experts: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return PEFT's factors as (E, R, I) and (E, O, R), in double precision."""
    a_ERI = a.double().reshape(experts, -1, a.shape[-1])
    b_EOR = b.double().reshape(b.shape[0], -1, experts).permute(2, 0, 1)
    return a_ERI, b_EOR


def _product_norm(a_ERI: torch.Tensor, b_EOR: torch.Tensor) -> float:
    """Return ‖BA‖ over all experts: the root of the sum of tr(BᵀB AAᵀ)."""
    inner_ERR, outer_ERR = b_EOR.mT @ b_EOR, a_ERI @ a_ERI.mT
    return math.sqrt(max(0.0, float((inner_ERR * outer_ERR).sum())))


def _base_norm(module: Any) -> float:
    """Return the norm of the frozen weight that a PEFT layer adapts, out of 4 bits where it is held so."""
    weight = module.get_param() if hasattr(module, "get_param") else None
    return _norm(dequantize_module_weight(module.get_base_layer()) if weight is None else weight)


def _norm(tensor: torch.Tensor) -> float:
    return float(torch.linalg.vector_norm(tensor, dtype=torch.float32))
