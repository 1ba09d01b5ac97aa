"""Time the way from files of rows to documents on one core and print MB/s as one JSON document.

Rows of about 1 KB, a question and an answer. Megabytes are those of the file, except for Parquet, whose file
is compressed: there they are those of the same rows as JSON Lines. `parse` is strict JSON alone. CPU time of
this process; the parts run interleaved, the median of the repeats counts.

.venv/bin/python benchmarks/sources.py --rows 20000 --repeats 5
"""

from __future__ import annotations

import argparse
import csv
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from realm.corpus.files import lines
from realm.corpus.source import SOURCES
from realm.corpus.tally import Tally

WORDS = "the gate opens when both levers are down and nobody stands on the bridge "


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument("--rows", type=int, default=20_000)
    arguments.add_argument("--repeats", type=int, default=5)
    given = arguments.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        sizes = write(Path(folder), given.rows)
        parts: dict[str, Callable[[], object]] = {"parse": lambda: parse(Path(folder) / "messages.jsonl")}
        parts |= {name: reader(Path(folder) / name, given.rows) for name in sizes}
        sizes["parse"] = sizes["messages.jsonl"]
        seconds: dict[str, list[float]] = {name: [] for name in parts}
        for _ in range(given.repeats):
            for name, part in parts.items():
                began = time.process_time()
                part()
                seconds[name].append(time.process_time() - began)
    speeds = {name: round(sizes[name] / 1e6 / statistics.median(s), 1) for name, s in seconds.items()}
    print(json.dumps({"rows": given.rows, "mb_per_s": speeds}, indent=2))


def write(folder: Path, count: int) -> dict[str, int]:
    """Write the same questions and answers in every format and a few shapes; return sizes in bytes."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    pairs = [(f"{index} {WORDS * 6}", f"{WORDS * 6}é {index}") for index in range(count)]
    messages = [
        {"messages": [{"role": "user", "content": q}, {"role": "assistant", "content": a}]} for q, a in pairs
    ]
    shapes: dict[str, list[dict[str, Any]]] = {
        "messages": messages,
        "sharegpt": [
            {"conversations": [{"from": "human", "value": q}, {"from": "gpt", "value": a}]} for q, a in pairs
        ],
        "alpaca": [{"instruction": q, "input": "", "output": a} for q, a in pairs],
        "text": [{"text": q + a} for q, a in pairs],
    }
    for name, rows in shapes.items():
        content = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        (folder / f"{name}.jsonl").write_text(content, encoding="utf-8")
    (folder / "list.json").write_text(json.dumps(messages, ensure_ascii=False), encoding="utf-8")
    (folder / "inside.json").write_text(json.dumps({"data": messages}, ensure_ascii=False), encoding="utf-8")
    with (folder / "alpaca.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("instruction", "output"), *pairs])
    sizes = {path.name: path.stat().st_size for path in sorted(folder.iterdir())}
    pq.write_table(pa.Table.from_pylist(messages), folder / "messages.parquet")
    return {**sizes, "messages.parquet": sizes["messages.jsonl"]}


def parse(path: Path) -> None:
    """Read every line as strict JSON and nothing else."""
    with path.open("rb") as file:
        for line in file:
            lines.parse(line, 64)


def reader(path: Path, count: int) -> Callable[[], object]:
    """Return what reads every document of one file."""
    source = SOURCES.build({"kind": "chat_jsonl", "name": "bench", "path": str(path)})

    def read() -> None:
        tally = Tally()
        found = sum(1 for item in source.items(tally) for _ in source.read(item, tally))
        assert (found, tally.total()) == (count, 0)

    return read


if __name__ == "__main__":
    main()
