from __future__ import annotations

import bisect
import dataclasses
import json
from importlib import import_module

import pytest

from realm.bench.cases import PROJECTIONS, SUITES, cases, gpu_cases, gpu_peers, peers, recipe_of
from realm.bench.chats import chats, tokenizer
from realm.models.chat import encode_many
from realm.training.recipe import Recipe


def test_the_four_cases_and_their_peers() -> None:
    assert [case.name for case in cases()] == ["4k-full", "4k-lora", "152k-full", "152k-lora"]
    for case in cases():
        found = peers(case, tokens=2591, steps=1)
        assert len({peer.name for peer in found}) == len(found)
        assert {"defaults", "padding_free"} <= {peer.name for peer in found}
        assert not any(peer.optional for peer in found)
        patched = [peer for peer in found if peer.trained_positions_only]
        assert bool(patched) == case.name.startswith("152k")
        for peer in found:
            batch = peer.settings["per_device_train_batch_size"]
            rows = 32 if peer.settings.get("packing") else batch
            assert rows * peer.settings.get("gradient_accumulation_steps", 1) == 32


def test_the_cpu_cases_are_what_they_were() -> None:
    for case in cases():
        shape, rules = case.shape, case.recipe.rules
        assert (shape.hidden_size, shape.layers, shape.heads, shape.kv_heads) == (256, 6, 4, 2)
        assert (shape.head_dim, shape.intermediate_size) == (64, 768)
        assert case.model == "qwen3 6 × 256, 4 heads, tied"
        assert (case.batch_rows, rules.max_tokens, rules.precision, case.device) == (32, 1024, "fp32", "cpu")
        assert rules.memory.tokens_at_once is None
        assert (case.optimizer.learning_rate, case.optimizer.betas) == (1e-4, (0.9, 0.98))
        assert (case.optimizer.eps, case.optimizer.weight_decay, rules.clip_norm) == (1e-8, 0.0, 1.0)
        assert case.chat_tokens is None
    assert {(case.mode, case.rank) for case in cases()} == {("full", None), ("lora", 16)}
    assert [(case.rows, case.quick_rows) for case in cases()] == [(256, 64)] * 2 + [(64, 32)] * 2


def test_where_our_side_rounds_its_products_the_fastest_peers_may_too() -> None:
    for exact, rounded in zip(cases(), cases("bf16"), strict=True):
        assert (exact.precision, rounded.precision, rounded.weights) == ("fp32", "bf16", "fp32")
        before, after = (peers(case, 2560, 1) for case in (exact, rounded))
        assert [peer for peer in after if peer in before] == before
        added = [peer for peer in after if peer not in before]
        assert len(added) == 2
        assert all("bf16" in peer.name and peer.settings["bf16"] is True for peer in added)
        assert all(peer.trained_positions_only == rounded.name.startswith("152k") for peer in added)


def test_a_gpu_trains_what_the_shipped_recipes_say() -> None:
    for case in gpu_cases():
        shipped = Recipe.shipped(case.name)
        own = case.recipe.rules
        assert case.recipe.model == shipped.model
        decided = {"schedule", "order", "steps", "epochs"}
        assert own.model_dump(exclude=decided) == shipped.rules.model_dump(exclude=decided)
        assert case.recipe.where.validation.share == 0
        assert (own.order, own.schedule.kind) == ("given", "constant")
        assert (case.device, own.precision, case.weights) == ("cuda", "bf16", "bf16")


def test_the_two_cases_of_a_gpu() -> None:
    full, lora = gpu_cases()
    assert full.model == "qwen3 28 × 1024, 16 heads, tied"
    assert lora.model == "qwen3 36 × 4096, 32 heads, untied"
    assert (full.vocabulary, lora.vocabulary) == (151_936, 151_936)
    assert (full.shape.kv_heads, full.shape.head_dim, full.shape.intermediate_size) == (8, 128, 3072)
    assert (lora.shape.kv_heads, lora.shape.head_dim, lora.shape.intermediate_size) == (8, 128, 12_288)
    assert (full.mode, full.lora, full.chat_tokens) == ("full", None, None)
    assert (lora.mode, lora.rank, lora.chat_tokens) == ("lora", 32, 65_536)
    assert lora.lora is not None
    assert lora.lora.target_modules == PROJECTIONS
    assert lora.recipe.rules.max_tokens >= 65_536
    assert lora.blank.context_tokens >= 65_536


@pytest.mark.parametrize("device", list(SUITES))
def test_chats_of_a_segment_fill_whole_steps(device: str) -> None:
    for case in SUITES[device].cases("fp32"):  # type: ignore[index]
        assert case.device == device
        assert case.rows % case.batch_rows == case.quick_rows % case.batch_rows == 0


def test_the_peers_of_a_gpu() -> None:
    for case in gpu_cases():
        found = gpu_peers(case, tokens=163_000, steps=64)
        assert len({peer.name for peer in found}) == len(found)
        assert all(peer.optional and peer.settings["use_liger_kernel"] for peer in found)
        assert all(peer.settings["bf16"] and not peer.trained_positions_only for peer in found)
        for peer in found:
            together = peer.settings["per_device_train_batch_size"]
            rows = case.batch_rows if peer.settings.get("packing") else together
            assert rows * peer.settings.get("gradient_accumulation_steps", 1) == case.batch_rows
        again = {peer.name: peer.settings.get("gradient_checkpointing", True) for peer in found}
        assert set(again.values()) == ({True} if case.mode == "lora" else {True, False})
        kinds = [peer.settings.get("model_init_kwargs", {}).get("attn_implementation") for peer in found]
        assert {"sdpa", "flash_attention_4"} <= set(kinds)


def test_trl_knows_the_settings_of_all_peers() -> None:
    known = {field.name for field in dataclasses.fields(import_module("trl").SFTConfig)}
    for suite in SUITES.values():
        for case in suite.cases("fp32"):
            for peer in suite.peers(case, 163_000, 64):
                assert set(peer.settings) <= known, peer.name
                json.dumps(peer.settings)


@pytest.mark.parametrize("rows", [32, 64, 256, 512, 2048])
def test_best_fit_fills_as_many_packs_as_there_are_steps(rows: int) -> None:
    lengths = [row.full_tokens for row in encode_many(tokenizer(), chats(rows), 4096)]
    (case, _), steps = gpu_cases(), rows // 32
    (packed,) = [peer for peer in gpu_peers(case, sum(lengths), steps) if peer.settings.get("packing")]
    assert _packs(lengths, packed.settings["max_length"]) == steps


def _packs(lengths: list[int], size: int) -> int:
    """Return how many packs best-fit decreasing needs."""
    rooms: list[int] = []
    for length in sorted(lengths, reverse=True):
        place = bisect.bisect_left(rooms, length)
        room = rooms.pop(place) if place < len(rooms) else size
        bisect.insort(rooms, room - length)
    return len(rooms)


def test_a_recipe_of_the_benchmark_has_no_end_and_holds_nothing_out() -> None:
    recipe = recipe_of({"extends": "study", "rules": {"batch_rows": 4}})
    assert (recipe.rules.epochs, recipe.rules.steps, recipe.rules.batch_rows) == (None, 1_000_000, 4)
    assert recipe.rules.optimizer == Recipe.shipped("study").rules.optimizer
