"""Time one training step of our engine and of a plain transformers loop, interleaved, on equal rows.

    .venv/bin/python benchmarks/step.py --threads 2 --pairs 20

Both take the same rows of BIN drills, the same blank hero and AdamW. The peer pads its batch to the longest
row and runs transformers' own forward pass with labels of -100, without gradient checkpointing, in fp32.
Medians of CPU time a step, and the median of the ratios pair by pair. Prints one JSON document.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import realm.models  # noqa: F401  first: it sets the environment of torch's threads

import torch  # isort: skip

from realm.core.events import ignore
from realm.core.records import Example
from realm.models.blank import BLANKS, SpecialIds
from realm.models.chat import encode_many
from realm.models.files import load, save
from realm.models.tokenizer import train_tokenizer
from realm.skills.skill import SKILLS
from realm.training.job import RowsFile, TrainJob
from realm.training.recipe import Recipe
from realm.training.trainer import Trainer

ROWS = 2560


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument("--threads", type=int, default=2)
    arguments.add_argument("--pairs", type=int, default=20)
    arguments.add_argument("--answer", choices=("result", "echo"), default="result")
    given = arguments.parse_args()
    torch.set_num_threads(given.threads)
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(measure(Path(folder), given.pairs, given.answer, given.threads), indent=2))


def measure(folder: Path, pairs: int, answer: str, threads: int) -> dict[str, object]:
    skill = SKILLS.build({"kind": "bin", "digit_order": "lsb", "pad_digits": 6, "answer": answer})
    examples = [problem.example(skill.name) for problem in skill.drills(4, ROWS, weights={}, seed=0)]
    start = born(folder, skill.vocabulary())
    ours = our_step(folder, start, examples)
    peers = {name: peer_step(start, examples, name) for name in ("sdpa", "eager")}
    for step in (ours, *peers.values()):
        step(), step()
    times: dict[str, list[float]] = {"ours": [], **{name: [] for name in peers}}
    for _ in range(pairs):
        times["ours"].append(cpu_ms(ours))
        for name, step in peers.items():
            times[name].append(cpu_ms(step))
    return {
        "threads": threads,
        "rows_a_step": 64,
        "cpu_ms_a_step": {name: round(statistics.median(found), 1) for name, found in times.items()},
        "ratio_to_ours": {
            name: round(statistics.median(a / b for a, b in zip(times[name], times["ours"], strict=True)), 2)
            for name in peers
        },
    }


def born(folder: Path, vocabulary: tuple[object, object]) -> Path:
    texts, alphabet = vocabulary
    tokenizer = train_tokenizer(texts, 512, alphabet=alphabet)  # type: ignore[arg-type]
    special = SpecialIds(end=tokenizer.eos_token_id, pad=tokenizer.pad_token_id)
    model = BLANKS.build({"kind": "qwen3", "initializer_range": 0.06}).build(len(tokenizer), special, 0)
    (folder / "start").mkdir()
    save(model, tokenizer, folder / "start")
    return folder / "start"


def our_step(folder: Path, start: Path, examples: list[Example]) -> Callable[[], object]:
    rows = folder / "rows.jsonl"
    rows.write_text("".join(example.model_dump_json() + "\n" for example in examples))
    job = TrainJob(
        run="bench",
        seed=0,
        start=str(start),
        origin=str(start),
        rows=(RowsFile(path=str(rows)),),
        recipe=Recipe(rules={"steps": 10_000}),
        stages=str(folder),
        events=str(folder / "events.jsonl"),
    )
    trainer = Trainer(job, ignore)
    trainer.prepare()
    return trainer.take_step


def peer_step(start: Path, examples: list[Example], attention: str) -> Callable[[], object]:
    model, tokenizer = load(start, attention=attention)
    model.train()
    rows = encode_many(tokenizer, examples, 1024)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.1, fused=True)
    position = iter(range(0, 10_000 * 64, 64))

    def step() -> None:
        begin = next(position) % len(rows)
        batch = rows[begin : begin + 64]
        width = max(len(row.ids) for row in batch)
        ids = torch.zeros(len(batch), width, dtype=torch.long)
        labels = torch.full((len(batch), width), -100)
        mask = torch.zeros(len(batch), width, dtype=torch.long)
        for index, row in enumerate(batch):
            size = len(row.ids)
            ids[index, :size] = torch.from_numpy(row.ids)
            mask[index, :size] = 1
            trained = torch.from_numpy(row.trained)
            labels[index, :size][trained] = ids[index, :size][trained]
        optimizer.zero_grad(set_to_none=True)
        model(input_ids=ids, attention_mask=mask, labels=labels).loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

    return step


def cpu_ms(step: Callable[[], object]) -> float:
    began = time.process_time()
    step()
    return 1e3 * (time.process_time() - began)


if __name__ == "__main__":
    main()
