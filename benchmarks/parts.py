"""Time the parts of one turn of the wheel, each several times, and print the medians as one JSON document.

.venv/bin/python benchmarks/parts.py --repeats 7
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from itertools import count
from pathlib import Path

import realm.models  # noqa: F401  first: it sets the environment of torch's threads

import torch  # isort: skip

from step import born, our_step

from realm.core.records import ArtifactKind
from realm.corpus.dataset import write_examples
from realm.corpus.intake import check
from realm.ledger.ledger import Ledger
from realm.models.chat import encode_many
from realm.models.engines.transformers import Transformers
from realm.models.files import load
from realm.skills.skill import SKILLS
from realm.storage.store import Store
from realm.training.masking import prove_rows
from realm.training.rows import rows_of
from realm.training.rules import Encoding, Masking
from realm.training.settings import Settings

ROWS = 1600


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument("--repeats", type=int, default=7)
    arguments.add_argument("--threads", type=int, default=2)
    given = arguments.parse_args()
    torch.set_num_threads(given.threads)
    with tempfile.TemporaryDirectory() as folder:
        parts = make_parts(Path(folder))
        print(json.dumps({name: milliseconds(part, given.repeats) for name, part in parts.items()}, indent=2))


def make_parts(folder: Path) -> dict[str, Callable[[], object]]:
    skill = SKILLS.build({"kind": "bin", "digit_order": "lsb", "pad_digits": 6, "answer": "result"})
    examples = [problem.example(skill.name) for problem in skill.drills(4, ROWS, weights={}, seed=0)]
    start = born(folder, skill.vocabulary())
    loaded = load(start)
    rows = rows_of(examples, loaded.tokenizer, Settings.of(Encoding(), max_tokens=1024)).flat()
    problems = skill.heldout(4, 40)
    numbers = count()

    def write(name: str) -> Path:
        out = folder / f"{name}-{next(numbers)}"
        out.mkdir()
        write_examples(examples, out, name="bench", spec="chat_sft_v1", generator={})
        return out

    def publish() -> None:
        store = Store(folder / f"vault-{next(numbers)}")
        stage = store.stage(ArtifactKind.CHECKPOINT)
        (stage / "model.safetensors").write_bytes(b"\0" * 5_000_000)
        store.publish(stage, ArtifactKind.CHECKPOINT, lambda ref: ref)

    Ledger.open(folder / "ledger.db").close()
    sample = write("sample") / "rows.jsonl"
    prompts = [problem.messages for problem in problems]
    return {
        f"generate {ROWS} drills": lambda: list(skill.drills(4, ROWS, weights={}, seed=1)),
        f"write {ROWS} rows as a dataset": partial(write, "rows"),
        f"check a file of {ROWS} rows": partial(check, sample),
        f"encode {ROWS} chats": lambda: encode_many(loaded.tokenizer, examples, 1024),
        f"prove the masking of {ROWS} rows": lambda: prove_rows(
            rows, loaded.tokenizer, loaded.model.config.vocab_size, Masking()
        ),
        "load a model of 1.2 M parameters": lambda: load(start),
        "take a step of 64 rows": our_step(folder, start, examples),
        f"answer {len(prompts)} problems": lambda: Transformers(loaded).generate(prompts, max_tokens=16),
        "publish 5 MB": publish,
        "open a ledger that is up to date": lambda: Ledger.open(folder / "ledger.db").close(),
    }


def milliseconds(part: Callable[[], object], repeats: int) -> float:
    """Return the median wall time in milliseconds, after one run that is not counted."""
    part()
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        part()
        times.append(1e3 * (time.perf_counter() - began))
    return round(statistics.median(times), 1)


if __name__ == "__main__":
    main()
