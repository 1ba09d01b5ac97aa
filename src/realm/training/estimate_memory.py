"""Memory of a run by parts, at the moment when it is highest.

That is the largest of the moments before and in a step, each a sum of parts:

    prepare    weights + logits of a row that is proven alone
    head       weights + moments + copies + activations + loss + gradients so far
    embedding  weights + moments + copies + all gradients + the embedding's own
    update     weights + moments + copies + all gradients + what the optimizer holds for a moment
    save       weights + moments + all gradients + copies that are written at once
    generate   weights + moments + copies + keys and values, for methods whose rows are answers

The fast decoder's buffers live from step to step; what autograd keeps is gone after the backward pass.
"""

from __future__ import annotations

from typing import Literal

from realm.training.estimate_activations import Activations
from realm.training.estimate_constants import Constants
from realm.training.estimate_plan import BF16, FP32, Planned
from realm.training.hardware import GB

Moment = Literal["prepare", "head", "embedding", "update", "save", "generate"]
Sizes = dict[str, float]
"""Bytes by the name of a part."""
PROCESS_BYTES = int(0.4 * GB)
"""What a training process holds after its imports, in the machine's memory."""
_PUT_TOGETHER = 2.3
"""Bytes held for each byte of a model while its experts are put together (docs/distributed.md)."""
_SIZES_BESIDE = 27 / 16
"""Sizes of products where adapters lie beside weights, against those where none do."""
_FOUR_BIT = 0.5 + 0.127 / 8
"""Bytes of a value in NF4 with its scales, which are quantised too."""


class Memory:
    """The memory of a plan."""

    def __init__(self, planned: Planned, constants: Constants) -> None:
        self._planned, self._constants = planned, constants
        self._shape, self._trained, self._plan = planned.shape, planned.trained, planned.plan
        self._method, self._hardware = planned.method, planned.hardware
        self._activations = Activations(planned, constants)

    def peak(self) -> tuple[Moment, Sizes]:
        """Return the moment of the highest use of each device, and its parts."""
        moments = self._moments()
        worst = max(moments, key=lambda moment: sum(moments[moment].values()))
        parts = moments[worst]
        bare = sum(parts.values())
        constants = self._constants
        overhead = constants.fixed_bytes + self._code() + constants.share * bare
        factor = self._plan.memory_factor
        named = {**parts, "overhead": overhead + (factor - 1) * (bare + overhead)}
        if self._hardware.kind == "cpu":
            named["process"] = float(PROCESS_BYTES)
        return worst, named

    def on_host(self) -> Sizes:
        """Return what lies in the machine's memory, where the model is on a GPU."""
        if self._hardware.kind == "cpu":
            return {}
        later = self._copies()
        if self._planned.moments_on_host:
            later["optimizer"] = self._planned.moment_bytes()
        most = max(self._loading(), later, key=lambda sizes: sum(sizes.values()))
        return {"process": float(PROCESS_BYTES), **most}

    def _loading(self) -> Sizes:
        """Return what is loaded before it is shared out, by one rank after another."""
        if self._planned.shards == 1:
            return {}
        whole = float(self._shape.parameters * self._plan.weight_bytes)
        return {"loading": whole * (_PUT_TOGETHER if self._shape.experts else 1.0)}

    def _code(self) -> float:
        """Return the bytes of machine code that products in bf16 bring: some for each size of a product."""
        if not self._planned.half:
            return 0.0
        return self._constants.rounding_bytes * (_SIZES_BESIDE if self._trained.adapters else 1.0)

    def _moments(self) -> dict[Moment, Sizes]:
        planned, always = self._planned, self._always()
        gradients, before, last = self._gradients()
        activations, working = self._activations.kept(), self._activations.working()
        outlives = {"activations": activations, "working memory": working} if planned.fast else {}
        copies = {} if self._hardware.kind == "cuda" else self._copies()
        during = {**always, **copies} if planned.rules.saving.asynchronous else always
        moments: dict[Moment, Sizes] = {
            "prepare": {"weights": always["weights"], "proof": self._activations.proof()},
            "head": {
                **during,
                "activations": activations,
                "loss": self._activations.loss(),
                "gradients": before,
                "working memory": working,
            },
            "embedding": {**during, "working memory": working, **outlives, "gradients": last},
            "update": {**during, **outlives, "gradients": gradients, "update": self._update()},
            "save": {**always, **outlives, **copies, "gradients": gradients},
        }
        if "max_answer_tokens" in self._method:
            moments["generate"] = {**during, "generation": self._cache()}
        return moments

    def _gradients(self) -> tuple[float, float, float]:
        """Return the bytes of all gradients, of those in the head, and of those in the embedding."""
        planned, shape = self._planned, self._shape
        gradients = planned.gradient_bytes()
        embedding = shape.vocabulary * shape.hidden * planned.weight_bytes
        temporary = self._activations.in_pieces and not planned.fast_head
        of_head = embedding * (2 if temporary else 1) / planned.shards if planned.trains_head else 0
        again = planned.trains_embedding and (shape.tied or planned.several)
        twice = gradients if planned.fast and planned.several else 0
        return (
            gradients,
            of_head + (gradients if planned.several else 0),
            gradients + (twice or (embedding if again else 0)),
        )

    def _always(self) -> Sizes:
        planned, shape, four_bit = self._planned, self._shape, self._trained.four_bit
        weights = (shape.parameters - four_bit) * planned.frozen_bytes + four_bit * _FOUR_BIT
        adapters = sum(tensor.values for tensor in self._trained.adapters) * planned.adapter_bytes
        found = {
            "weights": weights / planned.shards + adapters,
            "optimizer": 0.0 if planned.moments_on_host else planned.moment_bytes() / planned.shards,
        }
        if (planned.technique.reference or self._method.get("kl_weight")) and not self._trained.adapters:
            found["reference"] = weights / planned.shards
        found["proof"] = self._activations.left_by_proof()
        if self._plan.teacher_bytes:
            found["teacher"] = float(self._plan.teacher_bytes)
        if planned.shards > 1:
            found["gathered layers"] = 2 * self._layer()
        if planned.half and planned.frozen_bytes == FP32 and not planned.fast:
            head = "lm_head.weight" if planned.fast_head else ""
            rounded = sum(t.values for t in shape.tensors() if t.linear and t.name != head)
            found["weights in bf16"] = rounded * BF16 / planned.shards
        return found

    def _layer(self) -> float:
        """Return the bytes of a whole layer's weights, which sharded training gathers one ahead."""
        return max(
            sum(tensor.values for tensor in self._shape.layer(layer))
            for layer in range(min(self._shape.layers, self._shape.full_attention_every))
        ) * float(self._planned.frozen_bytes)

    def _update(self) -> float:
        largest = max((tensor.values for tensor in self._trained.tensors), default=0)
        matrices = max((t.values for t in self._trained.tensors if t.linear), default=0)
        visiting = 2 * largest * self._planned.weight_bytes if self._planned.moments_on_host else 0
        return visiting + self._planned.optimizer.working * matrices * self._planned.weight_bytes

    def _copies(self) -> Sizes:
        """Return what a save copies: trained weights, or all of a whole model's, and the moments."""
        if not self._plan.saves:
            return {}
        adapters = sum(tensor.values for tensor in self._trained.adapters) * self._planned.adapter_bytes
        whole = self._shape.parameters * self._planned.weight_bytes
        weights = adapters if self._trained.adapters else whole
        return {"copy to save": weights + self._planned.moment_bytes()}

    def _cache(self) -> float:
        """Return the bytes of keys and values of all answers of a step at their full length."""
        shape = self._shape
        attending = sum(shape.attends(layer) for layer in range(shape.layers))
        tokens = self._planned.rows * self._planned.row_tokens
        return tokens * attending * 2 * shape.kv_heads * shape.head_dim * float(self._planned.frozen_bytes)
