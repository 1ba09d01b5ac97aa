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
from realm.bench.train import Plan, run
from realm.core.errors import ChildDiedError, RefusedError

SHAPE = Shape(
    hidden_size=32, layers=2, heads=2, kv_heads=1, head_dim=16, intermediate_size=48, vocabulary=2048
)


def _run(mode: Literal["full", "lora"] = "full", **settings: Any) -> TrainReport:
    case = Case(name=f"tiny-{mode}", shape=SHAPE, mode=mode, rows=32, quick_rows=32)
    plan = Plan(
        pairs=1,
        threads=1,
        python=Path(sys.executable),
        script=Path(__file__).with_name("plain_peer.py"),
        peers=lambda case, tokens, steps: [Peer(name="plain", settings=settings)],
    )
    return run([(case, 32)], plan, lambda text: None)


@pytest.mark.parametrize("mode", ["full", "lora"])
def test_a_case_is_measured_against_a_peer(mode: Literal["full", "lora"]) -> None:
    told = json.loads(_run(mode).model_dump_json())
    (case,) = told["cases"]
    assert {
        "name",
        "model",
        "vocab",
        "mode",
        "tokens_per_s",
        "trained_tokens_per_s",
        "peak_rss_mb",
        "speedup_vs_best_peer",
        "memory_ratio",
        "utilisation",
    } <= set(case)
    assert (case["name"], case["vocab"], case["best_peer"], case["pairs"]) == (
        f"tiny-{mode}",
        2048,
        "plain",
        1,
    )
    assert (case["trained_parameters"] < case["parameters"]) == (mode == "lora")
    assert 0 < case["utilisation"] < 1
    (peer,) = case["peers"]
    assert peer["speedup"] == case["speedup_vs_best_peer"] > 0
    assert peer["tokens_per_s"] * case["trained_tokens"] == pytest.approx(
        peer["trained_tokens_per_s"] * case["tokens"]
    )
    assert case["memory_ratio"] == pytest.approx(case["peak_rss_mb"] / peer["peak_rss_mb"])
    assert abs(peer["loss_difference"]) < 1e-4
    machine = told["machine"]
    assert machine["gemm_gflops"] == max(machine["gemm_shapes"].values()) > 0
    assert case["limit_tokens_per_s"] * case["utilisation"] == pytest.approx(case["tokens_per_s"])


def test_a_peer_that_dies_is_named_with_its_last_words() -> None:
    with pytest.raises(
        ChildDiedError, match=r"plain ended with code 3:\n(.*\n)*the peer has run into something"
    ):
        _run(die=True)
    assert not _left_over()


def test_a_peer_that_cannot_be_started_at_all() -> None:
    with pytest.raises(ChildDiedError, match="plain ended with code 1"):
        _run(skip=1000)


def test_a_peer_that_trains_something_else_is_refused() -> None:
    with pytest.raises(RefusedError, match="its loss before the first step"):
        _run(shift=0.01)


def test_a_peer_that_leaves_out_tokens_is_refused() -> None:
    # Its loss is that of the other rows alone, so the counts have to be looked at as well.
    with pytest.raises(RefusedError, match="plain does not train what we train"):
        _run(skip=1)
    assert not _left_over()


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
