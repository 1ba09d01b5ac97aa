"""Compare the fast decoder and head with the plain path on synthetic chats; print one JSON document.

    .venv/bin/python benchmarks/fast.py --case 4k-full --pairs 10

Both take the same packs of 32 chats (lengths p50 66, p95 161, max 372 tokens, 48 % trained) through a
Qwen3 of hidden size 256 and 6 layers: forward, backward, clipping and fused AdamW, in fp32 and under
autocast to bf16. Steps are interleaved with each other and with a large matrix product in fp32, whose best
rate counts as the limit. CPU time is that of all threads together, so utilisation is per core and bears
other work on the machine. Peak memory is each path's own process, less what it held after its imports. The
plain path trims the last layer and scores trained tokens only, but lets transformers' modules and autograd
do the rest.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import realm.models  # noqa: F401  first: it sets the environment of torch's threads

import torch  # isort: skip
import numpy as np
import psutil
from peft import LoraConfig, get_peft_model
from torch.nn.functional import cross_entropy
from torch.utils.checkpoint import checkpoint
from transformers import Qwen3Config, Qwen3ForCausalLM

from realm.core.seeds import rng
from realm.models.adapters import decoder, head
from realm.models.encodings import Encoded
from realm.training import fast, forward
from realm.training.attention import use_packed
from realm.training.batching import Batch, pack
from realm.training.trimming import trim_last_layer

VOCABULARIES = {"4k": 4096, "152k": 151_936}
CASES = [f"{vocabulary}-{mode}" for vocabulary in VOCABULARIES for mode in ("full", "lora")]
PATHS = ("fast", "fast-bf16", "plain", "plain-bf16")
HIDDEN, LAYERS, HEADS, KEYS, SIZE, INNER, RANK = 256, 6, 4, 2, 64, 768, 16
MAPS = {  # inputs and outputs
    "q_proj": (HIDDEN, HEADS * SIZE),
    "k_proj": (HIDDEN, KEYS * SIZE),
    "v_proj": (HIDDEN, KEYS * SIZE),
    "o_proj": (HEADS * SIZE, HIDDEN),
    "gate_proj": (HIDDEN, INNER),
    "up_proj": (HIDDEN, INNER),
    "down_proj": (INNER, HIDDEN),
}
EVERYWHERE = ("k_proj", "v_proj")
"""What the last layer computes at all tokens; the rest of it, where something is predicted."""


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument("--case", choices=CASES, action="append")
    arguments.add_argument("--pairs", type=int, default=10)
    arguments.add_argument("--threads", type=int, default=2)
    arguments.add_argument("--only", choices=PATHS, help="print this path's peak memory in MB, of one case")
    asked = arguments.parse_args()
    torch.set_num_threads(asked.threads)
    cases = asked.case or CASES
    if asked.only:
        print(peak_mb(cases[0], asked.only))
        return
    print(json.dumps([measure(case, asked.pairs, asked.threads) for case in cases], indent=2))


def measure(case: str, pairs: int, threads: int) -> dict[str, object]:
    batches = packs(case, 6)
    steps = {path: make_step(case, path) for path in PATHS}
    for step in steps.values():
        step(batches[0]), step(batches[1])
    wall: dict[str, list[float]] = {path: [] for path in PATHS}
    cpu: dict[str, list[float]] = {path: [] for path in PATHS}
    peaks, core_peaks = [], []
    for turn in range(pairs):
        batch = batches[turn % len(batches)]
        seconds, core_seconds = timed(product)
        peaks.append(PRODUCT_FLOPS / seconds)
        core_peaks.append(PRODUCT_FLOPS / core_seconds)
        for path, step in steps.items():
            seconds, core_seconds = timed(partial(step, batch))
            wall[path].append(seconds / flops(case, batch))
            cpu[path].append(core_seconds / flops(case, batch))
    mean = sum(flops(case, batch) / batch.tokens for batch in batches) / len(batches)
    memory = {path: child_peak_mb(case, path, threads) for path in PATHS}
    return {
        "case": case,
        "threads": threads,
        "gflops_limit": {"wall": round(max(peaks) / 1e9), "cpu": round(max(core_peaks) / 1e9)},
        "tokens_per_s": {path: round(1 / (mean * statistics.median(wall[path]))) for path in PATHS},
        "utilisation": {path: round(1 / (max(peaks) * statistics.median(wall[path])), 3) for path in PATHS},
        "utilisation_of_cpu_time": {
            path: round(1 / (max(core_peaks) * statistics.median(cpu[path])), 3) for path in PATHS
        },
        "cpu_speedup": {
            path: round(statistics.median(np.divide(cpu["plain"], cpu[path])), 2) for path in PATHS
        },
        "peak_mb": memory,
        "memory_ratio": {path: round(memory[path] / memory["plain"], 2) for path in PATHS},
    }


def packs(case: str, count: int) -> list[Batch]:
    """Make packs of 32 chats of one answer each; lengths are log-normal."""
    vocabulary = VOCABULARIES[case.split("-")[0]]
    draw = rng("benchmark/fast")
    return [pack([chat(draw.gauss(0, 1), vocabulary, number) for number in range(32)]) for _ in range(count)]


def chat(deviation: float, vocabulary: int, number: int) -> Encoded:
    length = min(372, max(8, round(66 * math.exp(0.542 * deviation))))
    weights = np.zeros(length, np.float32)
    weights[length - round(0.48 * length) :] = 1
    ids = (np.arange(length, dtype=np.int64) * 7919 + number * 104_729) % vocabulary
    return Encoded(ids.astype(np.int32), weights, 1, length)


def make_step(case: str, path: str) -> Callable[[Batch], None]:
    torch.manual_seed(0)
    vocabulary, mode = case.split("-")
    config = Qwen3Config(
        vocab_size=VOCABULARIES[vocabulary],
        hidden_size=HIDDEN,
        intermediate_size=INNER,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        num_key_value_heads=KEYS,
        head_dim=SIZE,
        tie_word_embeddings=True,
    )
    model = Qwen3ForCausalLM(config).train()
    if mode == "lora":
        model = get_peft_model(model, LoraConfig(r=RANK, lora_alpha=2 * RANK, target_modules=list(MAPS)))
    use_packed(decoder(model))
    own, rounded = path.startswith("fast"), path.endswith("bf16")
    if rounded and mode == "lora":  # as a run holds what lies beneath an adapter
        for parameter in model.parameters():
            if not parameter.requires_grad:
                parameter.data = parameter.data.bfloat16()
    if own:
        assert fast.fit(model)
    else:
        trim_last_layer(getattr(model, "base_model", model).model if mode == "lora" else model)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-4, fused=True)

    def step(batch: Batch) -> None:
        optimizer.zero_grad(set_to_none=True)
        weights_M = batch.weights_M / batch.weights_M.sum()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=rounded):
            hidden_MC = forward.predictions(model, batch)
            if own:
                loss = forward.cross_entropy_sum(model, hidden_MC, batch.targets_M, weights_M)
            else:
                loss = plain_cross_entropy(head(model), hidden_MC, batch.targets_M, weights_M)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()

    return step


def plain_cross_entropy(
    output: torch.nn.Module, hidden_MC: torch.Tensor, targets_M: torch.Tensor, weights_M: torch.Tensor
) -> torch.Tensor:
    """In pieces of 128 MiB of logits, computed again in the backward pass."""

    def piece(hidden: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        return (cross_entropy(output(hidden).float(), targets, reduction="none") * weights).sum()

    rows = max(1, (1 << 25) // output.out_features)
    if len(targets_M) <= rows:
        return piece(hidden_MC, targets_M, weights_M)
    parts = zip(*(torch.split(x, rows) for x in (hidden_MC, targets_M, weights_M)), strict=True)
    return sum(checkpoint(piece, *part, use_reentrant=False) for part in parts)


def flops(case: str, batch: Batch) -> float:
    """Count what must be computed: products, adapters, attention, and the head where it is trained."""
    vocabulary, mode = case.split("-")
    tokens, trained = len(batch.inputs_N), batch.trained_tokens
    weights = adapters = 0
    for name, (inputs, outputs) in MAPS.items():
        rows = (LAYERS - 1) * tokens + (tokens if name in EVERYWHERE else trained)
        weights += inputs * outputs * rows
        adapters += RANK * (inputs + outputs) * rows
    scores = VOCABULARIES[vocabulary] * HIDDEN * trained
    # Forward: two products over the causal half. Backward: five, of which one is the scores again.
    attention = sum(2 * rows * length**2 * HEADS * SIZE for rows, length in batch.groups) * LAYERS * 3.5
    if mode == "full":
        return 6 * (weights + scores) + attention
    return 4 * (weights + scores) + 6 * adapters + attention


_LEFT, _RIGHT, _OUT = torch.randn(2048, 2048), torch.randn(2048, 2048), torch.empty(2048, 2048)
PRODUCT_FLOPS = 2 * 2048**3


def product() -> None:
    torch.mm(_LEFT, _RIGHT, out=_OUT)


def timed(work: Callable[[], None]) -> tuple[float, float]:
    """Return wall seconds, and CPU seconds of all threads."""
    began, cpu_began = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - began, time.process_time() - cpu_began


def peak_mb(case: str, path: str) -> int:
    product()  # threads and workspace exist before the count begins
    held = psutil.Process().memory_info().rss
    batches, step = packs(case, 5), make_step(case, path)
    for batch in batches:
        step(batch)
    # Not getrusage's: a child inherits that one from the process it was forked from.
    facts = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return (int(facts["VmHWM"].split()[0]) * 1024 - held) >> 20


def child_peak_mb(case: str, path: str, threads: int) -> int:
    command = [
        sys.executable,
        "-W",
        "ignore",
        __file__,
        "--case",
        case,
        "--only",
        path,
        "--threads",
        str(threads),
    ]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


if __name__ == "__main__":
    main()
