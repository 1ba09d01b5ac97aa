"""Whole benchmarks with tiny models and a peer that is a plain loop."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

from realm.bench import ours
from realm.bench.cases import SUITES, Case, Computed, Peer, recipe_of, small_case
from realm.bench.contender import Trained
from realm.bench.course import Entrant, Plan, admit, memory_ratio, refuse_other_start, refuse_other_tokens
from realm.bench.flops import Shape
from realm.bench.material import Material
from realm.bench.train import measure, plan_of, run, segments
from realm.core.errors import ChildDiedError, RefusedError, UnavailableError, UsageError
from realm.core.events import Event, MaskingProven, StepTaken
from realm.training.trainer import Trainer

SHAPE = Shape(
    hidden_size=32, layers=2, heads=2, kv_heads=1, head_dim=16, intermediate_size=48, vocabulary=2048
)
PLAIN = Path(__file__).with_name("plain_peer.py")
SIZES = SHAPE.model_dump(exclude={"vocabulary"})


def _run(*wanted: Case, peers: list[Peer], **settings: Any) -> dict[str, Any]:
    plan = Plan(
        pairs=1,
        threads=1,
        python=Path(sys.executable),
        script=PLAIN,
        peers=lambda case, tokens, steps: peers,
        **settings,
    )
    report = run([(case, case.rows) for case in wanted], plan, lambda text: None)
    told: dict[str, Any] = json.loads(report.model_dump_json())
    return told


def _small() -> Case:
    return small_case("tiny-full", SHAPE, "full", rows=32, quick_rows=32)


def _short(precision: Computed = "fp32") -> Case:
    """Return a GPU's case of short chats in small: the same recipe, sizes that a CPU bears."""
    settings = {
        "extends": "0.6b-full",
        "model": {"shape": SIZES, "vocabulary_size": SHAPE.vocabulary},
        "rules": {"device": "cpu", "precision": precision, "memory": {"tokens_at_once": 1000}},
    }
    return Case(name="short", recipe=recipe_of(settings), rows=64, quick_rows=32, weights=precision)


def _long(precision: Computed = "fp32") -> Case:
    """Return a GPU's case of long chats in small."""
    model = {
        "shape": {**SIZES, "context_tokens": 512},
        "vocabulary_size": SHAPE.vocabulary,
        "context_tokens": 512,
    }
    rules = {
        "device": "cpu",
        "precision": precision,
        "parameters": {"rank": 4},
        "max_tokens": 512,
        "memory": {"tokens_at_once": 512},
    }
    recipe = recipe_of({"extends": "8b-lora-64k", "model": model, "rules": rules})
    return Case(name="long", recipe=recipe, rows=8, quick_rows=8, chat_tokens=512, weights=precision)


def test_a_case_is_measured_against_a_peer() -> None:
    told = _run(_small(), peers=[Peer(name="plain", settings={})])
    (case,) = told["cases"]
    assert case["name"] == "tiny-full"
    _check(case)
    assert {"model", "mode", "peak_rss_mb", "setup_s"} <= set(case)
    assert not {"peak_device_mb", "left_out"} & set(case)
    assert "gpu" not in told["machine"]
    machine = told["machine"]
    assert machine["gemm_gflops"] == max(machine["gemm_shapes"].values()) > 0
    assert not _left_over()


def test_a_case_of_a_gpu_in_small() -> None:
    peers = [
        Peer(name="elsewhere", settings={"first_loss": 1.0}, optional=True),
        Peer(name="plain", settings={}, optional=True),
    ]
    told = _run(_long(), peers=peers, warm_ups=1, takes_turns=True)
    (case,) = told["cases"]
    _check(case)
    (missing,) = case["left_out"]
    assert missing["name"] == "elsewhere"
    assert "does not train what we train: its loss before the first step" in missing["reason"]
    assert (case["mode"], case["rows"], case["steps"], case["tokens"]) == ("lora", 8, 1, 8 * 512)
    assert case["model"].endswith("untied")
    # The seven projections of both layers have an adapter of rank 4 beside them.
    sides = (32 + 32) + 2 * (32 + 16) + (32 + 32) + 3 * (32 + 48)
    assert case["trained_parameters"] == 2 * 4 * sides
    assert not _left_over()


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("make", [_short, _long])
def test_our_side_trains_by_the_recipe(
    make: Callable[[Computed], Case], precision: Computed, tmp_path: Path
) -> None:
    case = make(precision)
    material = Material(case, case.rows, tmp_path)
    material.write()
    told: list[Event] = []
    trainer = Trainer(ours.job_of(material.spec(tmp_path, None, threads=1)), told.append)
    trainer.prepare()
    assert [event.packed for event in told if isinstance(event, MaskingProven)] == [True]
    kept = {p.dtype for p in trainer.model.parameters() if not p.requires_grad or case.mode == "full"}
    # On a CPU a model that is trained whole is held in fp32.
    halved = precision == "bf16" and case.mode == "lora"
    assert kept == {torch.bfloat16 if halved else torch.float32}
    before = ours.loss_before(trainer)
    for _ in range(material.steps):
        trainer.take_step()
    steps = [event for event in told if isinstance(event, StepTaken)]
    assert sum(step.tokens for step in steps) == material.tokens
    assert sum(step.trained_tokens for step in steps) == material.work.trained
    # By the rates of these recipes, one or two steps change little.
    assert sum(step.loss for step in steps) / len(steps) == pytest.approx(before, rel=1e-3)


def _check(case: dict[str, Any]) -> None:
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


def test_peers_that_may_be_missing_are_left_out_with_the_reason() -> None:
    found = {
        "good": _entrant(peaks=[1]),
        "dead": ChildDiedError("dead ended with code 1:\nout of memory"),
        "other": RefusedError("other does not train what we train"),
    }

    def enter(peer: Peer) -> Entrant:
        entrant = found[peer.name]
        if isinstance(entrant, Entrant):
            return entrant
        raise entrant

    def peers(*names: str, optional: bool = True) -> list[Peer]:
        return [Peer(name=name, settings={}, optional=optional) for name in names]

    said: list[str] = []
    rivals, left_out = admit(peers("dead", "good", "other"), enter, said.append)
    assert [rival.peer.name for rival in rivals] == ["good"]
    assert [missing.name for missing in left_out] == ["dead", "other"]
    assert left_out[0].reason.endswith("out of memory")
    assert [line.partition(":")[0] for line in said] == ["dead", "other"]
    with pytest.raises(UnavailableError, match=r"no peer can run here: dead: (.*\n)*out of memory; other: "):
        admit(peers("dead", "other"), enter, said.append)
    with pytest.raises(RefusedError, match="other does not train"):
        admit(peers("good", "other", optional=False), enter, said.append)


def test_what_is_refused() -> None:
    own = {"first_loss": 8.0, "parameters": 10.0}
    refuse_other_start("peer", {"first_loss": 8.0009, "parameters": 10}, own, 1e-3)
    refuse_other_start("peer", {"first_loss": 8.009, "parameters": 10}, own, 1e-2)
    for theirs in ({"first_loss": 8.002}, {"first_loss": float("nan")}, {"parameters": 11.0}):
        with pytest.raises(RefusedError, match="peer does not train"):
            refuse_other_start("peer", {**own, **theirs}, own, 1e-3)
    refuse_other_tokens("peer", {"tokens": 9, "trained_tokens": 4}, {"tokens": 9, "trained_tokens": 4})
    with pytest.raises(RefusedError, match="its trained tokens: 3, ours: 4"):
        refuse_other_tokens("peer", {"tokens": 9, "trained_tokens": 3}, {"tokens": 9, "trained_tokens": 4})


def test_only_a_quick_run_loses_patience_with_a_peer() -> None:
    for device, suite in SUITES.items():
        quick = plan_of(suite, device, Path("python"), quick=True, threads=1)
        whole = plan_of(suite, device, Path("python"), quick=False, threads=1)
        assert (quick.pairs, quick.patience) == (3, 2.0)
        assert (whole.pairs, whole.patience) == (5, None)
        assert quick.device == whole.device == device


def test_chats_have_to_fill_steps() -> None:
    suite = SUITES["cpu"]
    assert [rows for _, rows in segments(suite, "fp32", quick=False, rows=None)] == [256, 256, 64, 64]
    assert [rows for _, rows in segments(suite, "fp32", quick=True, rows=None)] == [64, 64, 32, 32]
    assert [rows for _, rows in segments(SUITES["cuda"], "bf16", quick=True, rows=64)] == [64, 64]
    for wrong in (16, 48):
        with pytest.raises(UsageError, match=f"{wrong} chats: 4k-full needs a multiple of 32"):
            segments(suite, "fp32", quick=False, rows=wrong)


def test_memory_is_compared_where_the_case_ran() -> None:
    host, gpu = _entrant(peaks=[30, 20]), _entrant(peaks=[90, 80], device=[4, 9])
    assert (host.peak_mb, host.peak_device_mb) == (30, None)
    assert (gpu.peak_mb, gpu.peak_device_mb) == (90, 9)
    assert memory_ratio(host, _entrant(peaks=[60])) == 0.5
    assert memory_ratio(gpu, _entrant(peaks=[30], device=[6])) == 1.5


def _entrant(peaks: list[float], device: list[float] | None = None) -> Entrant:
    answers = [{"peak_device_mb": peak} for peak in device] if device else [{} for _ in peaks]
    segments = [
        Trained(seconds=1, peak_mb=peak, answer=answer) for peak, answer in zip(peaks, answers, strict=True)
    ]
    return Entrant(name="one", contender=None, segments=segments)  # type: ignore[arg-type]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_nothing_is_set_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REALM_CACHE", str(tmp_path))
    said: list[str] = []
    with pytest.raises(UnavailableError, match="these cases need an NVIDIA GPU, and torch"):
        measure(quick=True, threads=1, rows=None, say=said.append, device="cuda")
    assert said == []
    assert list(tmp_path.iterdir()) == []


def _left_over() -> list[str]:
    children = psutil.Process().children(recursive=True)
    return [" ".join(child.cmdline()) for child in children if "realm.bench" in " ".join(child.cmdline())]
