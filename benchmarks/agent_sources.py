"""Time the sources of agents' work on one core and print MB/s of CPU time and peak memory as JSON.

The files are made up, seeded and of one shape: sessions with calls, results and a branch; work items with
events; terminal logs with colours and progress bars; specs with headings.

.venv/bin/python benchmarks/agent_sources.py --megabytes 20 --repeats 3
.venv/bin/python benchmarks/agent_sources.py --megabytes 20 --only claude_code --one-file
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from realm.core.seeds import rng
from realm.corpus.source import SOURCES
from realm.corpus.tally import Tally

WORDS = ("build", "the", "parser", "fix", "a", "failing", "test", "run", "check", "read", "branch", "merge")
TURNS = 200


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument("--megabytes", type=int, default=20)
    arguments.add_argument("--repeats", type=int, default=3)
    arguments.add_argument("--only", choices=sorted(MAKERS))
    arguments.add_argument("--one-file", action="store_true")
    given = arguments.parse_args()
    figures: dict[str, Any] = {}
    for kind in [given.only] if given.only else sorted(MAKERS):
        with tempfile.TemporaryDirectory() as folder:
            size = _fill(Path(folder), kind, given.megabytes * 1_000_000, given.one_file)
            before = _peak_mb()
            runs = [_run(kind, Path(folder)) for _ in range(given.repeats)]
            figures[kind] = {
                "megabytes": round(size / 1e6, 1),
                "documents": runs[0][1],
                "mb_per_s": round(size / 1e6 / statistics.median(seconds for seconds, _ in runs), 1),
                "peak_mb_more": round(_peak_mb() - before),
            }
    print(json.dumps(figures, indent=2))


def _run(kind: str, folder: Path) -> tuple[float, int]:
    made = SOURCES.build({"kind": kind, "name": "bench", "path": folder})
    tally, count = Tally(), 0
    start = time.process_time()
    for item in made.items(tally):
        count += sum(1 for _ in made.read(item, tally))
    return time.process_time() - start, count


def _fill(folder: Path, kind: str, wanted: int, one_file: bool) -> int:
    name, make = MAKERS[kind]
    written = number = 0
    while written < wanted:
        path = folder / name.format(number=0 if one_file else number)
        with path.open("a", encoding="utf-8") as file:
            written += sum(file.write(line) for line in make(rng("bench/agents", kind, number), number))
        number += 1
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _text(draw: random.Random, words: int) -> str:
    return " ".join(draw.choices(WORDS, k=words))


def _session(draw: random.Random, number: int) -> Iterator[str]:
    parent: str | None = None
    for turn in range(TURNS):
        uuid, call = f"{number}-{turn}", f"t{number}-{turn // 2}"
        content: Any = [{"type": "tool_result", "tool_use_id": call, "content": _text(draw, 600)}]
        message: dict[str, Any] = {"role": "user", "content": content}
        if turn == 0:
            message["content"] = _text(draw, 80)
        elif turn % 2:
            blocks = [
                {"type": "text", "text": _text(draw, 60)},
                {"type": "tool_use", "id": f"t{number}-{(turn + 1) // 2}", "name": "Bash",
                 "input": {"command": "make check && git status | head"}},
            ]  # fmt: skip
            message = {"role": "assistant", "id": f"m{uuid}", "model": "some-model", "content": blocks}
        row = {
            "type": message["role"], "uuid": uuid, "parentUuid": parent, "sessionId": f"s{number}",
            "cwd": "/a", "gitBranch": "main", "version": "2.1.0", "timestamp": "2026-01-02T03:04:05.000Z",
            "message": message,
        }  # fmt: skip
        parent = parent if turn == TURNS // 2 else uuid
        yield json.dumps(row) + "\n"


def _items(draw: random.Random, number: int) -> Iterator[str]:
    for index in range(100):
        item = {"id": f"gt-{number}-{index}", "title": _text(draw, 8), "description": _text(draw, 150)}
        yield json.dumps({**item, "status": "open", "priority": 2, "issue_type": "task"}) + "\n"


def _log(draw: random.Random, number: int) -> Iterator[str]:
    for index in range(100):
        yield f"\x1b[32muser@host\x1b[0m:~/code$ make step-{index}\r\n"
        for percent in range(0, 100, 20):
            yield f"\r\x1b[K{percent}% \x1b[1m{_text(draw, 4)}\x1b[0m"
        yield "\r\n"
        for _ in range(20):
            yield _text(draw, 14) + "\r\n"


def _spec(draw: random.Random, number: int) -> Iterator[str]:
    for index in range(50):
        heading = f"{'#' * (index % 3 + 1)} {_text(draw, 4)} {index}"
        yield f"{heading}\n\n{_text(draw, 120)}\n\n```sh\n# no\n```\n\n"


MAKERS: dict[str, tuple[str, Callable[[random.Random, int], Iterator[str]]]] = {
    "beads": ("issues.jsonl", _items),
    "claude_code": ("session-{number:08}.jsonl", _session),
    "documents": ("spec-{number}.md", _spec),
    "terminal": ("pane{number}x.log", _log),
}


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
