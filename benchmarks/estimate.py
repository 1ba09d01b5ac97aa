"""Measure what runs take, fit the constants of `realm.training.estimate`, and tell its error.

    .venv/bin/python benchmarks/estimate.py measure /tmp/measured.json     about ten minutes
    .venv/bin/python benchmarks/estimate.py fit /tmp/measured.json         prints the FITTED line
    .venv/bin/python benchmarks/estimate.py check /tmp/measured.json       errors with the source's FITTED

Each shape is measured in a fresh process by the engine's own dry step, on the CPU with one thread: the
peak of resident memory above what is held after the imports. FITTING is what the constants are fitted on;
HELD_OUT is never shown to the fit. Both differ in hidden size, layers, vocabulary, rows, lengths, what is
trained, the optimizer, what is computed again, and the number format of products.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from realm.models.blank import BLANKS
from realm.training import estimate as formula
from realm.training import shapes
from realm.training.dryrun import DryRun, Measured
from realm.training.hardware import GB, cpu
from realm.training.lengths import equal
from realm.training.recipe import Recipe

LORA = {"kind": "lora", "rank": 8}
DORA = {"kind": "lora", "rank": 8, "dora": True}
FREEZE = {"kind": "full", "freeze": ["embed_tokens"]}


def case(
    hidden: int,
    layers: int,
    vocabulary: int,
    rows: int,
    tokens: int,
    *,
    kind: str = "qwen3",
    share: float = 0.4,
    mlp: float = 3.0,
    kv: int = 2,
    tied: bool = True,
    memory: dict[str, int] | None = None,
    optimizer: str = "adamw",
    parameters: Any = "full",
    precision: str = "fp32",
) -> dict[str, Any]:
    """Describe one run: a shape, rows of equal length, and the rules that take memory."""
    heads = max(4, hidden // 64)
    shape = {
        "kind": kind,
        "hidden_size": hidden,
        "layers": layers,
        "heads": heads,
        "kv_heads": heads // kv,
        "head_dim": hidden // heads,
        "tie_embeddings": tied,
        "context_tokens": 4096,
    }
    shape["intermediate_size"] = int(mlp * hidden)
    rules = {
        "batch_rows": rows,
        "max_tokens": 4096,
        "steps": 4,
        "optimizer": optimizer,
        "parameters": parameters,
        "memory": memory or {},
        "device": "cpu",
        "precision": precision,
        "threads": 1,
    }
    return {"shape": shape, "vocabulary": vocabulary, "rules": rules, "tokens": tokens, "share": share}


FITTING = [
    case(128, 4, 512, 16, 64),
    case(128, 6, 4096, 32, 100),
    case(128, 6, 4096, 32, 100, parameters=LORA),
    case(192, 6, 8192, 6, 300, share=0.7),
    case(96, 4, 152_000, 16, 60),
    case(96, 10, 2048, 16, 200, memory={"recompute_layers": 1}),
    case(256, 4, 16_384, 24, 64, parameters=DORA, tied=False),
    case(160, 6, 1024, 24, 128, kind="llama", share=1.0),
    case(128, 6, 32_000, 16, 150, memory={"tokens_at_once": 1024}),
    case(192, 3, 65_536, 4, 400, kv=1, parameters=LORA),
    case(256, 4, 6000, 3, 600, mlp=2.0, optimizer="muon"),
    case(160, 3, 512, 64, 50),
    case(128, 10, 8000, 6, 400, memory={"recompute_layers": 2}),
    case(160, 7, 5000, 8, 220, memory={"recompute_layers": 2}),
    case(144, 5, 90_000, 10, 80, parameters=LORA),
    case(192, 6, 4096, 16, 128, precision="bf16"),
    case(96, 4, 120_000, 12, 80, precision="bf16"),
    case(128, 6, 24_000, 16, 150, precision="bf16", memory={"tokens_at_once": 1024}),
    case(160, 5, 3000, 24, 100, precision="bf16", parameters=LORA),
    case(128, 4, 60_000, 8, 120, precision="bf16", parameters=LORA),
    case(224, 4, 8000, 16, 90, precision="bf16", parameters=DORA, tied=False),
    case(128, 8, 4000, 12, 200, precision="bf16", memory={"recompute_layers": 1}),
    case(192, 4, 6000, 12, 120, precision="bf16", parameters=FREEZE),
    case(144, 6, 3000, 10, 240, precision="bf16", memory={"recompute_layers": 2}),
    case(192, 5, 5000, 12, 120, precision="bf16", parameters=DORA, kv=1),
    case(192, 4, 30_000, 12, 110, precision="bf16", parameters=LORA, kv=1),
]
HELD_OUT = [
    case(192, 5, 1024, 24, 90),
    case(224, 5, 12_000, 16, 100, mlp=2.5),
    case(128, 9, 3000, 12, 250, share=0.6),
    case(160, 5, 100_000, 10, 80, parameters=LORA),
    case(192, 5, 50_000, 8, 150, tied=False, kv=1),
    case(112, 8, 6000, 9, 260, memory={"recompute_layers": 2}),
    case(384, 3, 20_000, 16, 80, parameters=DORA),
    case(96, 8, 4096, 48, 60, kind="llama", share=0.3),
    case(256, 4, 30_000, 32, 80, memory={"tokens_at_once": 1500}, optimizer="muon"),
    case(128, 5, 152_000, 4, 200, share=1.0),
    case(224, 5, 6000, 16, 120, precision="bf16", mlp=2.5),
    case(112, 5, 100_000, 6, 160, precision="bf16", share=0.8),
    case(192, 5, 20_000, 24, 100, precision="bf16", memory={"tokens_at_once": 1200}, optimizer="muon"),
    case(224, 5, 20_000, 14, 130, precision="bf16", parameters=LORA, mlp=2.5),
    case(320, 3, 12_000, 16, 80, precision="bf16", parameters=DORA, kv=1),
    case(112, 8, 6000, 9, 260, precision="bf16", memory={"recompute_layers": 2}),
]
CHILD = "import sys, pathlib, realm.training.dryrun as d; sys.exit(d.main(pathlib.Path(sys.argv[1])))"
CASES = {"fitting": FITTING, "held out": HELD_OUT}


def recipe(of: dict[str, Any]) -> Recipe:
    return Recipe.model_validate({"rules": of["rules"]})


def plan(of: dict[str, Any]) -> formula.Plan:
    return formula.Plan(
        recipe=recipe(of),
        shape=shapes.of_blank(BLANKS.config(of["shape"]), of["vocabulary"]),
        lengths=equal(of["tokens"], trained_share=of["share"]),
        hardware=cpu(64 * GB),
        saves=False,
    )


def predicted(of: formula.Plan, constants: formula.Constants | None = None) -> float:
    """Return the predicted peak above the imports, bytes."""
    return formula.estimate(of, constants).peak_bytes - formula.PROCESS_BYTES


def measure(of: dict[str, Any]) -> Measured | None:
    """Take the dry step of a case in a process of its own; none where it fails, which it then has said."""
    with tempfile.TemporaryDirectory() as folder:
        spec = DryRun(
            recipe=recipe(of),
            shape=of["shape"],
            vocabulary_size=of["vocabulary"],
            usual_tokens=(of["tokens"],),
            long_tokens=(of["tokens"],),
            trained_share=of["share"],
            folder=folder,
        )
        path = Path(folder) / "spec.json"
        path.write_text(spec.model_dump_json())
        subprocess.run([sys.executable, "-c", CHILD, str(path)], check=False)
        result = Path(folder) / "result.json"
        return Measured.model_validate_json(result.read_bytes()) if result.exists() else None


def measure_all(out: Path) -> int:
    """Measure every case; return how many failed."""
    found: dict[str, list[Any]] = {}
    failed = 0
    for name, cases in CASES.items():
        for number, of in enumerate(cases):
            result = measure(of)
            if result is None:
                print(f"{name:9} {number:2}  failed")
                failed += 1
                continue
            found.setdefault(name, []).append({"case": of, "measured": result.model_dump()})
            show(name, number, of, result.peak_bytes, None)
            sys.stdout.flush()
            out.write_text(json.dumps(found, indent=1))
    return failed


def show(
    name: str, number: int, of: dict[str, Any], peak: float, constants: formula.Constants | None
) -> float:
    guess = predicted(plan(of), constants)
    error = guess / peak - 1
    print(
        f"{name:9} {number:2}  measured {peak / 1e6:5.0f} MB  predicted {guess / 1e6:5.0f} MB  {error:+.1%}"
    )
    return error


def fit(found: dict[str, list[Any]]) -> formula.Constants:
    """Find the constants with the least squared error of the logarithms: a search along each in turn."""
    pairs = [(plan(entry["case"]), entry["measured"]["peak_bytes"]) for entry in found["fitting"]]

    def loss(constants: formula.Constants) -> float:
        return sum(math.log(predicted(of, constants) / peak) ** 2 for of, peak in pairs)

    best, least = formula.FITTED, loss(formula.FITTED)
    step = 0.3
    while step > 0.01:
        improved = False
        for name in formula.Constants._fields:
            for factor in (1 + step, 1 / (1 + step)):
                tried = best._replace(**{name: max(1e-4, getattr(best, name)) * factor})
                if (value := loss(tried)) < least:
                    best, least, improved = tried, value, True
        step = step if improved else step / 2
    return formula.Constants(*(float(f"{value:.3g}") for value in best))


def check(found: dict[str, list[Any]], constants: formula.Constants | None = None) -> None:
    for name, entries in found.items():
        errors = [
            show(name, number, entry["case"], entry["measured"]["peak_bytes"], constants)
            for number, entry in enumerate(entries)
        ]
        mean = sum(map(abs, errors)) / len(errors)
        print(f"{name}: mean error {mean:.1%}, worst {max(map(abs, errors)):.1%}")


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument("what", choices=("measure", "fit", "check"))
    arguments.add_argument("file", type=Path)
    given = arguments.parse_args()
    if given.what == "measure":
        return min(1, measure_all(given.file))
    found = json.loads(given.file.read_text())
    constants = fit(found) if given.what == "fit" else None
    if constants is not None:
        print(f"FITTED = {constants}")
    check(found, constants)
    return 0


if __name__ == "__main__":
    sys.exit(main())
