"""Time the way from rows to packs on one core and print tokens a second as one JSON document.

The chats are those of the training benchmark. `floor` is the tokenizer library alone on the rendered
texts, with the offsets that masking by it would need, and `floor_ids` without them. CPU time of this
process, in which templates are not rendered.

.venv/bin/python benchmarks/data_path.py --rows 16384 --repeats 5
.venv/bin/python benchmarks/data_path.py --rows 16384 --tokenizer FOLDER
"""

from __future__ import annotations

import os

os.environ["RAYON_NUM_THREADS"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import realm.models  # noqa: F401  first: it sets the environment of torch's threads

import torch  # isort: skip

from realm.bench.chats import chats, tokenizer
from realm.models.chat import encode_flat, load_tokenizer
from realm.models.encodings import Encodings
from realm.models.shape import Rendered
from realm.models.template import Template
from realm.models.words import plain_backend
from realm.training.batching import Unit, best_fit, pack
from realm.training.job import RowsFile
from realm.training.masking import prove_rows
from realm.training.rows import Rows, load_rows
from realm.training.rules import Masking
from realm.training.settings import Settings

PACK_ROWS = 64
PACK_TOKENS = 8192


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument("--rows", type=int, default=16_384)
    arguments.add_argument("--repeats", type=int, default=5)
    arguments.add_argument("--tokenizer", type=Path)
    given = arguments.parse_args()
    torch.set_num_threads(1)
    made = load_tokenizer(given.tokenizer) if given.tokenizer else tokenizer()
    examples = chats(given.rows)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "rows.jsonl"
        file.write_text(
            "".join(row.model_dump_json(exclude_defaults=True) + "\n" for row in examples), encoding="utf-8"
        )
        settings, source = Settings(max_tokens=4096), RowsFile(path=str(file))

        def load(cache: Path | None) -> Rows:
            return load_rows([source], made, settings, lambda row: (row,), cache=cache)

        cache = Path(folder) / "cache"
        rows = load(cache)
        plans = Template.of(made).rendered([row.messages for row in examples])
        texts = [plan.text for plan in plans if isinstance(plan, Rendered)]
        backend = plain_backend(made)
        flat = rows.flat()
        parts: dict[str, Callable[[], object]] = {
            "floor": lambda: [
                (e.ids, e.offsets) for e in backend.encode_batch(texts, add_special_tokens=False)
            ],
            "floor_ids": lambda: [e.ids for e in backend.encode_batch_fast(texts, add_special_tokens=False)],
            "encode_and_mask": lambda: encode_flat(made, examples, 4096),
            "pack": lambda: packed(rows),
            "encode_mask_pack": lambda: packed_flat(encode_flat(made, examples, 4096)),
            "prove_masking": lambda: prove_rows(flat, made, len(made), Masking()),
            "file_to_rows_cold": lambda: load(None),
            "file_to_rows_warm": lambda: load(cache),
            "file_to_packs_warm": lambda: packed(load(cache)),
        }
        seconds: dict[str, list[float]] = {name: [] for name in parts}
        for _ in range(given.repeats):
            for name, part in parts.items():
                began = time.process_time()
                part()
                seconds[name].append(time.process_time() - began)
    print(
        json.dumps(
            {
                "tokens": rows.tokens,
                "vocabulary": len(made),
                "tokens_per_s": {
                    name: round(rows.tokens / statistics.median(s)) for name, s in seconds.items()
                },
            },
            indent=2,
        )
    )


def packed(rows: Rows) -> None:
    """Lay every row into packs, a step's rows at a time."""
    _packed([Unit(row, i) for i, row in enumerate(rows.sequences)])


def packed_flat(sequences: Encodings) -> None:
    """Lay every sequence into packs, a step's rows at a time."""
    _packed([Unit((row,), i) for i, row in enumerate(sequences)])


def _packed(units: list[Unit]) -> None:
    for begin in range(0, len(units), PACK_ROWS):
        for members in best_fit(units[begin : begin + PACK_ROWS], PACK_TOKENS):
            pack(members)


if __name__ == "__main__":
    main()
