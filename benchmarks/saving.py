"""How long checkpoints hold a run up, written beside it or in place, as one JSON document.

    .venv/bin/python benchmarks/saving.py --steps 60 --every 10

A blank Qwen3 of about 24 M parameters on chats of 60 tokens. `blocked` is the share of the run's wall time
that steps waited for a save: copying, and waiting for the write before.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
import time
from pathlib import Path

import realm.models  # noqa: F401  first: it sets the environment of torch's threads

import torch  # isort: skip

from realm.core.events import ignore
from realm.core.records import Example, Message
from realm.models.blank import BLANKS, SpecialIds
from realm.models.files import save
from realm.models.tokenizer import train_tokenizer
from realm.training.job import RowsFile, TrainJob
from realm.training.recipe import Recipe
from realm.training.trainer import Trainer

SHAPE = {"kind": "qwen3", "hidden_size": 512, "layers": 6, "heads": 8, "kv_heads": 4, "head_dim": 64}


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument("--steps", type=int, default=60)
    arguments.add_argument("--every", type=int, default=10)
    arguments.add_argument("--threads", type=int, default=2)
    given = arguments.parse_args()
    torch.set_num_threads(given.threads)
    found = {}
    for way in ("beside", "in place"):
        with tempfile.TemporaryDirectory() as folder:
            found[way] = measure(Path(folder), given.steps, given.every, beside=way == "beside")
    print(json.dumps(found, indent=2))


def measure(folder: Path, steps: int, every: int, *, beside: bool) -> dict[str, float]:
    draw = random.Random(0)
    words = [f"word{i}" for i in range(300)]
    rows = [
        Example(
            messages=tuple(
                Message(role=r, content=" ".join(draw.choices(words, k=20))) for r in ("user", "assistant")
            )
        )
        for _ in range(400)
    ]
    tokenizer = train_tokenizer([" ".join(words)] * 3, 4096)
    special = SpecialIds(end=tokenizer.eos_token_id, pad=tokenizer.pad_token_id)
    model = BLANKS.build({**SHAPE, "intermediate_size": 1536}).build(8192, special, 0)
    (folder / "start").mkdir()
    save(model, tokenizer, folder / "start")
    (folder / "rows.jsonl").write_text(
        "".join(row.model_dump_json(exclude_defaults=True) + "\n" for row in rows)
    )
    rules = {"steps": steps, "batch_rows": 16, "saving": {"every_steps": every, "asynchronous": beside}}
    job = TrainJob(
        run="bench",
        seed=0,
        start=str(folder / "start"),
        origin=str(folder / "start"),
        rows=(RowsFile(path=str(folder / "rows.jsonl")),),
        recipe=Recipe.model_validate({"rules": rules}),
        stages=str(folder / "stages"),
        events=str(folder / "events.jsonl"),
    )
    trainer = Trainer(job, ignore)
    trainer.prepare()
    trainer.take_step()
    blocked, began = 0.0, time.perf_counter()
    for step in range(2, steps + 1):
        trainer.take_step()
        if step % every == 0:
            saving = time.perf_counter()
            trainer.save(final=False)
            blocked += time.perf_counter() - saving
    whole = time.perf_counter() - began
    trainer.flush()
    trainer.forget()
    return {
        "parameters": float(model.num_parameters()),
        "ms_a_step": round(1e3 * (whole - blocked) / (steps - 1), 1),
        "ms_a_save": round(1e3 * blocked / (steps // every), 1),
        "blocked": round(blocked / whole, 4),
    }


if __name__ == "__main__":
    main()
