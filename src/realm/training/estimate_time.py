"""Time of an average step: model FLOPs by what the hardware reaches, the optimizer's traffic, waits.

Not covered: the time of generation, and several processes on one CPU.
"""

from __future__ import annotations

from realm.training.estimate_plan import Planned
from realm.training.hardware import GB

_UTILISATION = {"cpu": 0.42, "cuda": 0.40}
"""Share of the hardware's best rate that a step reaches; 0.38 to 0.57 on two cores (docs/LOG.md)."""
_PRODUCTS = {True: 0.64, False: 0.30}
"""Share of a step in fp32 that is products of matrices, of the fast decoder's and of a plain one's; the
rest takes as long in bf16 (docs/estimate.md)."""
_ROUNDED_PRODUCTS = 2.4
"""How many times as fast a CPU with instructions for bf16 multiplies in it; a GPU's sheet tells bf16."""
_LAUNCH_S = {"cpu": 0.4e-3, "cuda": 0.9e-3}
"""A layer's kernels, forwards and backwards, however small."""
_HOST_LINK = 20 * GB
"""Bytes a second between host and device."""


def step_seconds(planned: Planned) -> tuple[float, float]:
    """Return the seconds and model FLOPs of an average step."""
    shape, hardware = planned.shape, planned.hardware
    cores = planned.rules.threads if hardware.kind == "cpu" else 1
    flops = step_flops(planned)
    reached = hardware.flops * cores * planned.processes * _UTILISATION[hardware.kind]
    again = shape.layers if planned.rules.memory.recompute_layers else 0
    waits = _LAUNCH_S[hardware.kind] * (shape.layers + again / 3) * planned.packs
    seconds = flops / reached * _rounded(planned) + waits + _update_seconds(planned)
    updates: int = planned.method.get("updates_per_batch", 1)
    return updates * seconds * planned.plan.seconds_factor, updates * flops


def _rounded(planned: Planned) -> float:
    """Return the time of a step in its number format, against one in that which the rate is of."""
    hardware = planned.hardware
    if hardware.kind == "cuda" or not (planned.half and hardware.half):
        return 1.0
    products = _PRODUCTS[planned.fast]
    return 1 - products + products / _ROUNDED_PRODUCTS


def step_flops(planned: Planned) -> float:
    """Return multiplications and additions of an update; a frozen weight needs no gradient of its own."""
    shape, tokens = planned.shape, planned.step_tokens
    active = shape.experts_per_token / shape.experts if shape.experts else 0.0
    every = planned.rules.memory.recompute_layers
    again = 2.0 / every if every else 0.0
    names = {tensor.name for tensor in planned.trained.own}
    total = 0.0
    for tensor in shape.tensors():
        if tensor.name.endswith("embed_tokens.weight") or len(tensor.size) < 2:
            continue
        share = active if ".experts." in tensor.name else 1.0
        each = 6.0 if tensor.name in names else 4.0
        in_head = tensor.name == "lm_head.weight"
        seen = tokens * planned.plan.lengths.trained_share if in_head else tokens
        total += (each + (0 if in_head else again)) * tensor.values * share * seen
    if shape.tied:
        each = 6.0 if planned.trained.own else 4.0
        total += each * shape.vocabulary * shape.hidden * tokens * planned.plan.lengths.trained_share
    total += 6.0 * sum(tensor.values for tensor in planned.trained.adapters) * tokens
    attending = sum(shape.attends(layer) for layer in range(shape.layers))
    pairs = tokens * planned.plan.lengths.attended_tokens * shape.heads * shape.head_dim
    return total + attending * pairs * 4 * (3.5 + again / 2)


def _update_seconds(planned: Planned) -> float:
    """Return the seconds in which weights, gradients and moments are read and written."""
    trained_bytes = planned.gradient_bytes() * planned.shards
    moved = 2 * (2 * trained_bytes + planned.moment_bytes())
    seconds = moved / planned.hardware.bandwidth / planned.shards
    if planned.moments_on_host:
        seconds += 2 * planned.moment_bytes() / _HOST_LINK
    return seconds
