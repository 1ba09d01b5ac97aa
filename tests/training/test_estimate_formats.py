"""Estimates of runs that multiply in bf16, held against what torch keeps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from realm.models.adapters import base_of
from realm.models.blank import BLANKS, SpecialIds
from realm.models.encodings import Encoded
from realm.training import estimate_activations as counted
from realm.training import fast, forward, hardware, isolation, lengths, shapes
from realm.training.attention import use_packed
from realm.training.batching import Batch, pack
from realm.training.estimate import FITTED, Plan, estimate
from realm.training.estimate_plan import Planned
from realm.training.fast import attention, head, products
from realm.training.hardware import GB
from realm.training.parameter import PARAMETERS
from realm.training.precision import Chosen, autocast
from realm.training.recipe import Recipe
from realm.training.trimming import trim_last_layer

HIDDEN = 64
SHAPE = BLANKS.config(
    {"kind": "qwen3", "hidden_size": HIDDEN, "layers": 3, "heads": 4, "kv_heads": 2, "intermediate_size": 192}
)
VOCABULARY, ROWS, TOKENS, EVERY = 600, 6, 80, 2
SHARE = 1 / EVERY
LORA, DORA = {"kind": "lora", "rank": 4}, {"kind": "lora", "rank": 4, "dora": True}
CPU = torch.device("cpu")
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


def plan(precision: str = "bf16", *, half: bool = True, vocabulary: int = VOCABULARY, **rules: Any) -> Plan:
    given = {"steps": 10, "device": "cpu", "precision": precision, "batch_rows": ROWS, **rules}
    return Plan(
        recipe=Recipe.model_validate({"rules": given}),
        shape=shapes.of_blank(SHAPE, vocabulary),
        lengths=lengths.equal(TOKENS, trained_share=SHARE),
        hardware=hardware.cpu(8 * GB, half=half),
        saves=False,
    )


def parts(of: Plan) -> dict[str, int]:
    return {part.name: part.bytes for part in estimate(of).parts}


def activations(of: Plan) -> counted.Activations:
    return counted.Activations(Planned(of), FITTED._replace(adapted=0.0, again=0.0, fast_working=1.0))


def model_of(precision: str, parameters: Any) -> Any:
    bare = BLANKS.build(SHAPE).build(VOCABULARY, SpecialIds(end=1, pad=2), 0)
    model = PARAMETERS.build(parameters).apply(bare, 0)
    if (
        precision == "bf16" and base_of(model) is not model
    ):  # as `loading.py` holds what lies under an adapter
        for frozen in (each for each in model.parameters() if not each.requires_grad):
            frozen.data = frozen.data.bfloat16()
    use_packed(model)
    return model.train()


def batch() -> Batch:
    ids = np.arange(TOKENS + 1, dtype=np.int32) % VOCABULARY
    weights = (np.arange(TOKENS + 1) % EVERY).astype(np.float32)
    return pack([Encoded(ids, weights, TOKENS // EVERY, TOKENS + 1)] * ROWS)


def kept_by_autograd(model: Any, precision: str) -> int:
    """Return the bytes of what a pass keeps that is no parameter and no copy of one."""
    sizes = {tuple(p.shape) for p in model.parameters()}
    sizes |= {size[::-1] for size in sizes}
    kept: dict[int, torch.UntypedStorage] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        if tuple(tensor.shape) not in sizes or tensor.shape[0] == tensor.shape[-1]:
            kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage()
        return tensor

    own = {p.untyped_storage().data_ptr() for p in model.parameters()}
    with (
        autocast(Chosen(DTYPES[precision], ""), CPU),
        torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
    ):
        forward.predictions(model, batch())
    return sum(storage.nbytes() for place, storage in kept.items() if place not in own)


@pytest.mark.parametrize("parameters", [{"kind": "full"}, DORA], ids=["full", "dora"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_plain_layers_keep_what_is_counted_in_either_format(precision: str, parameters: Any) -> None:
    model = model_of(precision, parameters)
    trim_last_layer(model)
    # Dropout keeps LoRA from the fast decoder, a compiler full training; neither changes the count.
    wanted = plan(precision, parameters=parameters, compile=parameters["kind"] == "full")
    assert activations(wanted).kept() == pytest.approx(kept_by_autograd(model, precision), rel=0.06)


@pytest.mark.parametrize("parameters", [{"kind": "full"}, LORA], ids=["full", "lora"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_fast_decoder_holds_what_is_counted_in_either_format(precision: str, parameters: Any) -> None:
    model = model_of(precision, parameters)
    assert fast.fit(model)
    with autocast(Chosen(DTYPES[precision], ""), CPU):
        total = forward.predictions(model, batch()).sum()
        total.backward()  # type: ignore[no-untyped-call]
    pool = base_of(model).model.forward.__self__._decoder._pool
    buffers = sum(flat.nbytes for flat in pool._idle[0]._flat.values())
    if precision == "bf16" and parameters is LORA:  # not a buffer: kept of each pass
        buffers += 2 * LORA["rank"] * 7 * 3 * ROWS * TOKENS
    wanted = activations(plan(precision, parameters=parameters))
    ends = 4 * HIDDEN * ROWS * TOKENS * (1 + SHARE)
    """Gradients at both ends of the decoder, counted as working memory."""
    assert wanted.kept() == pytest.approx(buffers - ends, rel=0.02)
    assert wanted.working() == pytest.approx(pool.scratch._flat.nbytes + ends, rel=0.25)


def test_rounding_takes_less_memory() -> None:
    exact, rounded = activations(plan("fp32")), activations(plan())
    assert 0.6 < rounded.kept() / exact.kept() < 0.9
    assert activations(plan(parameters=LORA)).working() > rounded.working()


def test_only_plain_layers_hold_copies_of_all_weights() -> None:
    assert "weights in bf16" not in parts(plan())
    linear = sum(t.values for t in shapes.of_blank(SHAPE, VOCABULARY).tensors() if t.linear)
    assert parts(plan(memory={"recompute_layers": 1}))["weights in bf16"] == 2 * linear


def test_weights_are_counted_as_the_engine_holds_them() -> None:
    values = shapes.of_blank(SHAPE, VOCABULARY).parameters
    published = {"weight_bytes": 2}

    def weights(of: Plan) -> int:
        adapters = estimate(of).trained_parameters if of.recipe.rules.parameters.adapter else 0
        return parts(of)["weights"] - 4 * adapters

    assert weights(plan()) == weights(plan(parameters={"kind": "full", "freeze": ["norm"]})) == 4 * values
    assert weights(plan(parameters=LORA)) == 2 * values
    assert weights(plan("fp32", parameters=LORA)) == 4 * values
    assert weights(plan("fp32").model_copy(update=published)) == 4 * values
    assert weights(plan().model_copy(update=published)) == 4 * values
    on_gpu = {**published, "hardware": hardware.named("h100")}
    assert weights(plan().model_copy(update=on_gpu)) == 2 * values


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize(("vocabulary", "trained"), [(152_000, 700), (152_000, 330), (50_000, 900), (600, 9)])
def test_a_tile_of_logits_is_counted_as_large_as_it_is(precision: str, vocabulary: int, trained: int) -> None:
    rows = lengths.equal(trained, trained_share=1.0)
    wanted = plan(precision, vocabulary=vocabulary, batch_rows=1).model_copy(update={"lengths": rows})
    hidden_MC, weight_VC = torch.empty(trained, 1), torch.empty(vocabulary, 1)
    _, logits_PV = next(head._Sides(hidden_MC, weight_VC, DTYPES[precision]).tiles())
    assert activations(wanted)._tile() == logits_PV.numel()


def test_what_the_head_brings_to_fp32_is_counted_as_large_as_it_is() -> None:
    assert (counted.SOFTMAX_AT_ONCE, counted.WEIGHTS_AT_ONCE) == (
        head._SOFTMAX_AT_ONCE,
        head._WEIGHTS_AT_ONCE,
    )
    assert isolation._MOST_TOKENS == counted.PROVEN_TOKENS
    assert products.PIECES == counted.PIECES
    assert attention.SCORES_AT_ONCE == counted.SCORES_AT_ONCE


def test_rounded_logits_take_less_and_frozen_weights_of_a_head_lie_in_bf16_already() -> None:
    large: dict[str, Any] = {"vocabulary": 20_000, "batch_rows": 24}
    exact, rounded = (parts(plan(precision, **large)) for precision in ("fp32", "bf16"))
    assert rounded["loss"] < 0.8 * exact["loss"]
    sides = 2 * 20_000 * HIDDEN
    assert parts(plan(**large))["loss"] - parts(plan(**large, parameters=LORA))["loss"] >= sides


def test_an_adapter_on_a_large_vocabulary_peaks_before_the_first_step() -> None:
    few = plan("fp32", vocabulary=152_000, batch_rows=1, parameters=LORA)
    wanted = few.model_copy(update={"lengths": lengths.equal(1500, trained_share=0.01)})
    assert estimate(wanted).moment == "prepare"
    assert parts(wanted)["proof"] == 2 * 4 * 1024 * 152_000


def test_only_products_are_faster_in_bf16() -> None:
    def ratio(**rules: Any) -> float:
        wide = plan(**rules, batch_rows=256)
        exact = plan("fp32", **rules, batch_rows=256)
        return estimate(wide).step_seconds / estimate(exact).step_seconds

    assert 0.55 < ratio() < 0.75
    assert ratio() < ratio(memory={"recompute_layers": 1}) < 1


def test_a_cpu_without_instructions_for_bf16_gains_nothing_and_says_so() -> None:
    without = estimate(plan(half=False))
    assert without.step_seconds == estimate(plan("fp32", half=False)).step_seconds
    assert "no instructions for bf16" in " ".join(without.basis)
    assert parts(plan("auto", half=False)) == parts(plan("fp32", half=False))
    assert parts(plan("auto")) == parts(plan("bf16"))


@pytest.mark.parametrize(
    ("flags", "half"), [("avx512_bf16", True), ("amx_bf16 amx_tile", True), ("avx2 avx512f", False)]
)
def test_what_a_cpu_does_well_is_read_where_training_reads_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flags: str, half: bool
) -> None:
    facts = tmp_path / "cpuinfo"
    facts.write_text(f"flags : fpu {flags}\n")
    monkeypatch.setattr(hardware, "CPU_FACTS", facts)
    here = hardware.this_machine("cpu", 1, ())
    assert here is not None
    assert here.half is half


def test_ranks_that_share_the_model_out_have_no_fast_way_and_stay_in_fp32() -> None:
    ranks = {"kind": "torchrun", "processes": 2}
    copied, shared = (
        Planned(plan("auto", launcher={**ranks, "strategy": strategy})) for strategy in ("ddp", "fsdp2")
    )
    assert (copied.fast, copied.half) == (True, True)
    assert (shared.fast, shared.half) == (False, False)
