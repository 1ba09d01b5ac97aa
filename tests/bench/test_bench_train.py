"""Whole benchmarks with a tiny model and a peer that is a plain loop."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, Literal

import psutil
import pytest

from realm.bench.cases import Case, Peer, cases, peers
from realm.bench.flops import Shape
from realm.bench.report import TrainReport
from realm.bench.train import Plan, refuse_other_start, refuse_other_tokens, run
from realm.core.errors import RefusedError

SHAPE = Shape(
    hidden_size=32, layers=2, heads=2, kv_heads=1, head_dim=16, intermediate_size=48, vocabulary=2048
)


def _run(*modes: Literal["full", "lora"], **settings: Any) -> TrainReport:
    tiny = [Case(name=f"tiny-{mode}", shape=SHAPE, mode=mode, rows=32, quick_rows=32) for mode in modes]
    plan = Plan(
        pairs=1,
        threads=1,
        python=Path(sys.executable),
        script=Path(__file__).with_name("plain_peer.py"),
        peers=lambda case, tokens, steps: [Peer(name="plain", settings=settings)],
    )
    return run([(case, 32) for case in tiny], plan, lambda text: None)


def test_cases_are_measured_against_a_peer() -> None:
    told = json.loads(_run("full", "lora").model_dump_json())
    assert [case["name"] for case in told["cases"]] == ["tiny-full", "tiny-lora"]
    for case in told["cases"]:
        _check(case)
    full, lora = told["cases"]
    assert lora["trained_parameters"] < full["trained_parameters"] == full["parameters"]
    assert lora["gflop"] < full["gflop"]
    machine = told["machine"]
    assert machine["gemm_gflops"] == max(machine["gemm_shapes"].values()) > 0
    assert not _left_over()


def _check(case: dict[str, Any]) -> None:
    assert {"model", "mode", "peak_rss_mb", "setup_s"} <= set(case)
    assert (case["vocab"], case["best_peer"], case["pairs"]) == (2048, "plain", 1)
    assert 0 < case["utilisation"] < 1
    assert case["limit_tokens_per_s"] * case["utilisation"] == pytest.approx(case["tokens_per_s"])
    (peer,) = case["peers"]
    assert peer["speedup"] == case["speedup_vs_best_peer"] > 0
    assert case["memory_ratio"] == pytest.approx(case["peak_rss_mb"] / peer["peak_rss_mb"])
    assert abs(peer["loss_difference"]) < 1e-4
    for figures in (case, peer):
        share = figures["trained_tokens_per_s"] / figures["tokens_per_s"]
        assert share == pytest.approx(case["trained_tokens"] / case["tokens"])


def test_a_peer_that_begins_elsewhere_is_refused_and_all_end() -> None:
    with pytest.raises(
        RefusedError, match="plain does not train what we train: its loss before the first step"
    ):
        _run("full", shift=0.01)
    assert not _left_over()


def test_what_is_refused() -> None:
    ours = {"first_loss": 8.0, "parameters": 10.0}
    refuse_other_start("peer", {"first_loss": 8.0009, "parameters": 10}, ours)
    for theirs in ({"first_loss": 8.002}, {"first_loss": float("nan")}, {"parameters": 11.0}):
        with pytest.raises(RefusedError, match="peer does not train"):
            refuse_other_start("peer", {**ours, **theirs}, ours)
    refuse_other_tokens("peer", {"tokens": 9, "trained_tokens": 4}, {"tokens": 9, "trained_tokens": 4})
    with pytest.raises(RefusedError, match="its trained tokens: 3, ours: 4"):
        refuse_other_tokens("peer", {"tokens": 9, "trained_tokens": 3}, {"tokens": 9, "trained_tokens": 4})


def test_the_four_cases_and_their_peers() -> None:
    assert [case.name for case in cases()] == ["4k-full", "4k-lora", "152k-full", "152k-lora"]
    for case in cases():
        found = peers(case, tokens=2591, steps=1)
        assert len({peer.name for peer in found}) == len(found)
        assert {"defaults", "padding_free"} <= {peer.name for peer in found}
        patched = [peer for peer in found if peer.trained_positions_only]
        assert bool(patched) == case.name.startswith("152k")
        for peer in found:
            batch = peer.settings["per_device_train_batch_size"]
            rows = 32 if peer.settings.get("packing") else batch
            assert rows * peer.settings.get("gradient_accumulation_steps", 1) == 32


def _left_over() -> list[str]:
    children = psutil.Process().children(recursive=True)
    return [" ".join(child.cmdline()) for child in children if "realm.bench" in " ".join(child.cmdline())]
