"""Everything an estimate is a function of, and what a plan comes to: formats, paths, packs, moments."""

from __future__ import annotations

import math
from typing import Annotated, Any, NamedTuple

from pydantic import Field

from realm.core.records import Record
from realm.training.hardware import Hardware
from realm.training.launcher import LAUNCHERS
from realm.training.lengths import Lengths
from realm.training.recipe import Recipe
from realm.training.shapes import Shape
from realm.training.trained import Trained, trained

FP32, BF16 = 4, 2
"""Bytes of a value."""
_FAST_BUILDS = ("llama", "qwen2", "qwen3")
_SMALL = 4096
"""Tensors of fewer values keep fp32 moments in an 8-bit optimizer."""
_SCALES = 8 / 256
"""Bytes of scales a value in an 8-bit optimizer: two fp32 numbers a block of 256."""


class Moments(NamedTuple):
    """What an optimizer keeps and for how long."""

    per_matrix: float
    """Values kept for each value of a hidden matrix, in the weights' own format unless `eight_bit`."""
    per_other: float
    eight_bit: bool = False
    on_host: bool = False
    """They lie in the machine's memory where the model is on a GPU."""
    working: float = 0.0
    """Copies of the largest matrix that a step makes."""


_ADAMW = Moments(2, 2)
_OPTIMIZERS = {
    "adamw": _ADAMW,
    "adamw8bit": Moments(2, 2, eight_bit=True),
    "paged_adamw8bit": Moments(2, 2, eight_bit=True, on_host=True),
    "muon": Moments(1, 2, working=4),
}


class Technique(NamedTuple):
    """What a method takes beside a step of its rows."""

    sequences: int = 1
    """Sequences of a row, where rows are not known."""
    reference: bool = False
    """It keeps the model as it began; beside an adapter that costs nothing."""
    all_logits: float = 0.0
    """Whole matrices of logits alive at once; 0 scores them in pieces."""


_TECHNIQUES = {
    "dpo": Technique(sequences=2, reference=True),
    "distillation": Technique(all_logits=6.0),
}


class Plan(Record):
    """Everything an estimate is a function of."""

    recipe: Recipe
    shape: Shape
    lengths: Lengths
    hardware: Hardware
    weight_bytes: Annotated[int, Field(ge=1, le=4)] = FP32
    """Of one value, as the weights lie in their files."""
    teacher_bytes: Annotated[int, Field(ge=0)] = 0
    """Of a local teacher's weights."""
    saves: bool = True
    """Count what saving a checkpoint takes."""
    memory_factor: Annotated[float, Field(gt=0)] = 1.0
    """Measured by predicted peak of past runs."""
    seconds_factor: Annotated[float, Field(gt=0)] = 1.0
    """Measured by predicted time of past steps."""

    def with_recipe(self, recipe: Recipe) -> Plan:
        """Return the same plan by another recipe; rows that become too long are cut."""
        limit = max(2, min(self.lengths.longest_tokens, recipe.rules.max_tokens))
        ratio = min(1.0, limit / self.lengths.mean_tokens)
        cut = {
            "longest_tokens": limit,
            "mean_tokens": max(2.0, self.lengths.mean_tokens * ratio),
            "attended_tokens": min(self.lengths.attended_tokens, limit / 2),
        }
        return self.model_copy(update={"recipe": recipe, "lengths": self.lengths.model_copy(update=cut)})


class Planned:
    """A plan, worked out."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.shape, self.rules, self.hardware = plan.shape, plan.recipe.rules, plan.hardware
        ranks = LAUNCHERS.build(self.rules.launcher).processes
        self.processes: int = min(self.hardware.count, ranks)
        self.sharded: bool = self.rules.launcher.model_dump().get("strategy") == "fsdp2"
        self.shards: int = self.processes if self.sharded else 1
        self.trained: Trained = trained(self.shape, self.rules.parameters)
        self.optimizer = _moments(self.rules.optimizer)
        self._work_out_formats()
        self.method: dict[str, Any] = plan.recipe.method.model_dump()
        self.technique = _TECHNIQUES.get(self.method["kind"], Technique())
        self._work_out_packs()

    def _work_out_formats(self) -> None:
        """Find the bytes of values and which passes are hand-written, as `loading.py` and `fast/` do."""
        precision, adapted = self.rules.precision, bool(self.trained.adapters)
        on_cpu, fast = self.hardware.kind == "cpu", self._has_fast_decoder()
        well = self.hardware.half and (fast or not on_cpu)
        self.half = precision == "bf16" or (precision == "auto" and well)
        self.value_bytes = BF16 if self.half else FP32
        """Of what plain linear maps make of their input."""
        self.weight_bytes = self.plan.weight_bytes if self.half and not on_cpu else FP32
        """Of the model's own weights, where no adapter lies beside them."""
        self.frozen_bytes = BF16 if self.half and adapted else self.weight_bytes
        self.adapter_bytes = FP32
        self.rounds_inputs = self.half and (adapted or self.weight_bytes == FP32)
        """Each linear map reads a rounded copy of its input, not what a norm wrote."""
        exact = self.frozen_bytes == FP32
        self.fast = on_cpu and (exact or adapted) and fast
        self.fast_head = on_cpu and (exact or self.fast)
        own = {tensor.name for tensor in self.trained.own}
        self.trains_embedding = any(name.endswith("embed_tokens.weight") for name in own)
        self.trains_head = "lm_head.weight" in own or (self.shape.tied and self.trains_embedding)

    def _work_out_packs(self) -> None:
        lengths = self.plan.lengths
        sequences = 1 if lengths.rows else self.technique.sequences
        answers: int = self.method.get("group_size", 1)
        answer: int = self.method.get("max_answer_tokens", 0)
        self.rows: int = math.ceil(self.rules.batch_rows * sequences * answers / self.processes)
        self.row_tokens: float = lengths.mean_tokens + answer
        longest = lengths.longest_tokens * sequences + answer
        unlucky = lengths.of_step(self.rows) + self.rows * answer
        limit = self.rules.memory.tokens_at_once
        self.pack_tokens: int = math.ceil(min(unlucky, max(limit or unlucky, longest)))
        self.step_tokens = self.rules.batch_rows * sequences * answers * self.row_tokens
        self.packs = max(1, math.ceil(self.step_tokens / self.processes / self.pack_tokens))
        self.several = limit is not None and unlucky > self.pack_tokens
        self.pack_trained: int = max(1, round(self.pack_tokens * lengths.trained_share))

    @property
    def steps(self) -> int | None:
        """Steps of the run; none where neither the recipe nor the data says."""
        rules, rows = self.rules, self.plan.lengths.rows
        if rules.steps is None and rows:
            return max(1, math.ceil((rules.epochs or 0) * rows / rules.batch_rows))
        return rules.steps

    @property
    def moments_on_host(self) -> bool:
        """Whether the optimizer's moments lie in the machine's memory, beside a GPU."""
        return self.hardware.kind == "cuda" and self.optimizer.on_host

    def gradient_bytes(self) -> float:
        """Return the bytes of all gradients, of each device."""
        own = sum(tensor.values for tensor in self.trained.own) * self.weight_bytes
        adapters = sum(tensor.values for tensor in self.trained.adapters) * self.adapter_bytes
        return (own + adapters) / self.shards

    def moment_bytes(self) -> float:
        """Return the bytes of moments over all devices."""
        total = 0.0
        for tensors, width in (
            (self.trained.own, self.weight_bytes),
            (self.trained.adapters, self.adapter_bytes),
        ):
            for tensor in tensors:
                kept = self.optimizer.per_matrix if tensor.linear else self.optimizer.per_other
                if self.optimizer.eight_bit:
                    small = tensor.values < _SMALL
                    total += tensor.values * (2 * FP32 if small else kept + _SCALES)
                else:
                    total += tensor.values * kept * width
        return total

    def _has_fast_decoder(self) -> bool:
        """Return whether one hand-written pass computes the decoder; its buffers outlive the step."""
        parameters = self.rules.parameters
        plain = parameters.adapter is None or not (
            parameters.adapter.dora or float(getattr(parameters, "dropout", 0.0)) > 0 or self.trained.four_bit
        )
        layers = self.rules.compile or self.rules.memory.recompute_layers
        return self.shape.model_type in _FAST_BUILDS and not (layers or self.sharded) and plain


def _moments(optimizer: Any) -> Moments:
    """Return what an optimizer keeps; one of another package is taken to keep what AdamW does."""
    found = _OPTIMIZERS.get(optimizer.kind, _ADAMW)
    return found._replace(on_host=True) if getattr(optimizer, "offload", False) else found
