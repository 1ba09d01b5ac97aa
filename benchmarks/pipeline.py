"""Measure the whole pipeline, `realm data add` and `realm data build`, as whole processes; one JSON document.

Rows are invented chats of about 2 KB whose words follow Zipf's law, one in a hundred with a secret, one in
fifty an exact copy. Megabytes of the file by second of CPU time, and the highest memory of each process.

.venv/bin/python benchmarks/pipeline.py --mb 100
.venv/bin/python benchmarks/pipeline.py --mb 1000 --depth deep
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path
from random import Random
from typing import Any

from realm.core.seeds import rng

WORDS = 30_000
PER_SENTENCE = 12
SYLLABLES = ("ba", "ce", "di", "fo", "gu", "ka", "le", "mi", "no", "pu", "ra", "se", "ti", "vo", "zu", "an")


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument("--mb", type=int, default=100)
    arguments.add_argument("--depth", default="standard", choices=("quick", "standard", "deep"))
    given = arguments.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home, file = Path(folder) / "realm", Path(folder) / "chats.jsonl"
        rows = write(file, given.mb)
        size = file.stat().st_size / 1e6
        realm(home, "init", str(home), "--template", "dio")
        stages = {
            "add": realm(home, "data", "add", str(file)),
            "again": realm(home, "data", "add", str(file)),
            "build": realm(home, "data", "build", "--depth", given.depth),
        }
        cpu = stages["add"]["cpu_s"] + stages["build"]["cpu_s"]
        report = {
            "mb": round(size, 1),
            "rows": rows,
            "depth": given.depth,
            "stages": {
                name: {**each, "mb_per_s": round(size / each["cpu_s"], 2)} for name, each in stages.items()
            },
            "mb_per_s": round(size / cpu, 2),
        }
    print(json.dumps(report, indent=2))


def realm(home: Path, *arguments: str) -> dict[str, Any]:
    """Run one command and return what it took."""
    command = [str(Path(sys.executable).with_name("realm")), "--json", "--home", str(home), *arguments]
    began = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert process.stderr is not None
    told = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(told.decode())
    return {
        "wall_s": round(time.monotonic() - began, 1),
        "cpu_s": round(usage.ru_utime + usage.ru_stime, 2),
        "peak_mb": round(usage.ru_maxrss / 1024),
    }


def write(file: Path, megabytes: int) -> int:
    """Write rows until the file is large enough; return how many."""
    draw, count, size = rng("benchmark/pipeline"), 0, 0
    last = ""
    with file.open("w", encoding="utf-8") as out:
        for line in lines(draw):
            last = last if count % 50 == 7 else line
            size += out.write(last)
            count += 1
            if size >= megabytes * 1_000_000:
                return count
    raise AssertionError("lines never end")


def lines(draw: Random) -> Iterator[str]:
    """Yield chats for ever."""
    words = ["".join(draw.choices(SYLLABLES, k=draw.randint(1, 4))) for _ in range(WORDS)]
    weights = list(accumulate(1 / (rank + 2) for rank in range(WORDS)))
    number = 0
    while True:
        number += 1
        asked, said = (text(draw, words, weights, count) for count in (3, 20))
        if number % 100 == 3:
            said += (
                " the key is ghp"
                + "_"
                + "".join(draw.choices("abcdefghjkmnpqrstuvwxyzABCDEFGH0123456789", k=36))
            )
        turns = [{"role": "user", "content": asked}, {"role": "assistant", "content": said}]
        yield json.dumps({"messages": turns}) + "\n"


def text(draw: Random, words: list[str], weights: list[float], sentences: int) -> str:
    """Return some sentences."""
    drawn = draw.choices(words, cum_weights=weights, k=sentences * PER_SENTENCE)
    parts = [" ".join(drawn[at : at + PER_SENTENCE]) for at in range(0, len(drawn), PER_SENTENCE)]
    return ". ".join(part.capitalize() for part in parts) + "."


if __name__ == "__main__":
    main()
