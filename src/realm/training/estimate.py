"""What a run will take: memory part by part, and time. A pure function of numbers; nothing is loaded.

A plan is worked out in `estimate_plan.py`; memory is counted in `estimate_memory.py`, what a pass holds
of it in `estimate_activations.py`, time in `estimate_time.py`. Here it is put together and into words.

`Constants` are fitted by `benchmarks/estimate.py fit` on measured shapes (`estimate_constants.py`). GPU
figures come from data sheets and from counting: they have not been fitted, and an estimate for a GPU
says so. Not covered: the time of generation, the rows themselves in memory, several processes on one CPU.
"""

from __future__ import annotations

from realm.core.records import Record
from realm.training.estimate_constants import FITTED, GPU, Constants
from realm.training.estimate_memory import PROCESS_BYTES, Memory, Moment, Sizes
from realm.training.estimate_plan import Plan, Planned
from realm.training.estimate_time import step_seconds
from realm.training.hardware import Hardware

__all__ = ["FITTED", "GPU", "PROCESS_BYTES", "Constants", "Estimate", "Part", "Plan", "estimate"]


class Part(Record):
    """One part of a peak."""

    name: str
    bytes: int
    why: str


class Estimate(Record):
    """What a run will take on this hardware."""

    hardware: Hardware
    parameters: int
    trained_parameters: int
    moment: Moment
    """When memory is highest."""
    parts: tuple[Part, ...]
    """Of each device at that moment; they add up to the peak."""
    peak_bytes: int
    host_parts: tuple[Part, ...]
    """In the machine's memory, where the model is on a GPU."""
    host_bytes: int
    pack_tokens: int
    """The largest pack."""
    step_tokens: int
    """Of an average step."""
    step_flops: float
    step_seconds: float
    steps: int | None
    """None where neither the recipe nor the data says."""
    total_seconds: float | None
    basis: tuple[str, ...]
    """What was assumed and what was measured."""

    @property
    def fits(self) -> bool:
        """Whether the device, and the machine's memory where it is known, can hold it."""
        host = self.hardware.host_bytes
        return self.peak_bytes <= self.hardware.memory_bytes and (host is None or self.host_bytes <= host)


def estimate(plan: Plan, constants: Constants | None = None) -> Estimate:
    """Return what a run will take on the plan's hardware."""
    planned = Planned(plan)
    memory = Memory(planned, constants or (GPU if plan.hardware.kind == "cuda" else FITTED))
    moment, sizes = memory.peak()
    parts, host = _parts(planned, sizes), _parts(planned, memory.on_host())
    seconds, flops = step_seconds(planned)
    return Estimate(
        hardware=plan.hardware,
        parameters=plan.shape.parameters,
        trained_parameters=planned.trained.parameters,
        moment=moment,
        parts=parts,
        peak_bytes=sum(part.bytes for part in parts),
        host_parts=host,
        host_bytes=sum(part.bytes for part in host),
        pack_tokens=planned.pack_tokens,
        step_tokens=round(planned.step_tokens),
        step_flops=flops,
        step_seconds=seconds,
        steps=planned.steps,
        total_seconds=planned.steps * seconds if planned.steps is not None else None,
        basis=_basis(plan),
    )


def _parts(planned: Planned, sizes: Sizes) -> tuple[Part, ...]:
    return tuple(
        Part(name=name, bytes=round(size), why=_why(planned, name)) for name, size in sizes.items() if size
    )


def _basis(plan: Plan) -> tuple[str, ...]:
    found = []
    if plan.hardware.kind == "cuda":
        found.append("by formula alone: GPU figures are counted and from data sheets, not measured")
    if plan.hardware.kind == "cpu" and plan.recipe.rules.precision == "bf16" and not plan.hardware.half:
        found.append("this CPU has no instructions for bf16: a step takes longer than is said here")
    if not plan.lengths.rows:
        found.append(f"no rows given: all are taken to be {plan.lengths.longest_tokens:,} tokens long")
    return tuple(found)


def _why(planned: Planned, name: str) -> str:
    shape, again = planned.shape, planned.rules.memory.recompute_layers
    return {
        "weights": f"{shape.parameters:,} values of {planned.plan.weight_bytes} bytes",
        "weights in bf16": "what autocast makes of fp32 weights",
        "optimizer": f"moments of {planned.trained.parameters:,} trained values",
        "gradients": f"of {planned.trained.parameters:,} trained values",
        "activations": f"a pack of {planned.pack_tokens:,} tokens"
        + (f", every {again}. layer computed again" if again and again > 1 else "")
        + (", layers computed again" if again == 1 else ""),
        "loss": f"logits of {planned.pack_trained:,} trained tokens over {shape.vocabulary:,}",
        "proof": f"logits of a row over {shape.vocabulary:,} before the first step, or the room they leave",
        "working memory": "of the widest layer in the backward pass",
        "update": "what the optimizer holds for a moment",
        "gathered layers": "whole layers put together from all devices",
        "reference": "the model as it began",
        "teacher": "its weights",
        "generation": "keys and values of answers that are being written",
        "copy to save": "weights and moments while they are written",
        "loading": "the whole model, by one rank at a time, before it is shared out",
        "overhead": "kernels, buffers and what the allocator holds",
        "process": "Python, torch and their libraries",
    }[name]
