"""Count what repositories give before pair types, and time source and shaper, as one JSON document.

Units are functions of 3 to 120 lines that are whole by themselves, each text counted once; `documented`
those of them with a doc comment; `repeated` the copies that are not counted. CPU time of this process and
of git, the best of three for units and shaper.

.venv/bin/python benchmarks/code_yield.py FOLDER_OR_GIT_DIR…
.venv/bin/python benchmarks/code_yield.py flecs.git --include /src/ --include /include/
.venv/bin/python benchmarks/code_yield.py flecs.git --include /examples/ --show 30 --rows fill_in
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections import Counter
from collections.abc import Callable
from typing import Any, TypeVar

from realm.core.seeds import rng
from realm.corpus.code.syntax import GRAMMARS
from realm.corpus.code.units import Unit, find
from realm.corpus.document import Document
from realm.corpus.shaper import Row
from realm.corpus.shapers.code import Code
from realm.corpus.sources.repo import Repo
from realm.corpus.tally import Tally

T = TypeVar("T")


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument("paths", nargs="+")
    arguments.add_argument("--include", action="append", default=[], help="lines as of a .gitignore")
    arguments.add_argument("--show", type=int, default=0, help="print this many units, drawn by hash")
    arguments.add_argument("--rows", default="", help="show rows of this task instead")
    given = arguments.parse_args()
    print(
        json.dumps([measured(path, given.include, given.show, given.rows) for path in given.paths], indent=2)
    )


def measured(path: str, include: list[str], show: int, task: str) -> dict[str, Any]:
    """Return counts and speeds of one repository."""
    source = Repo(Repo.Config(name="measured", location=path, include=tuple(include)))
    left_out, shaped = Tally(), Tally()
    began = cpu_s()
    documents = [document for item in source.items(left_out) for document in source.read(item, left_out)]
    read_s = cpu_s() - began
    code = [document for document in documents if document.language in GRAMMARS]
    find_s, found = best(lambda: [unit for document in code for unit in functions(document)])
    shape_s, rows = best(lambda: list(Code(Code.Config()).shape(documents, Tally())))
    units = {(unit.language, "".join(unit.text.split())): unit for unit in reversed(found)}
    shown = [text_of(row) for row in rows if row.example.tags["task"] == task] or [
        f"--- {unit.language} {unit.name} {unit.first_line}-{unit.last_line}\n{unit.doc}\n{unit.text}\n"
        for unit in units.values()
    ]
    for text in rng("benchmark/code_yield", path, task).sample(shown, min(show, len(shown))):
        print(text)
    for _ in Code(Code.Config()).shape(documents, shaped):
        pass
    code_bytes = size(code)
    return {
        "path": path,
        "include": include,
        "documents": len(documents),
        "licences": Counter(document.origin.licence for document in documents),
        "units": Counter(unit.language for unit in units.values()),
        "documented": Counter(unit.language for unit in units.values() if unit.doc),
        "repeated": len(found) - len(units),
        "rows": Counter(row.example.tags["task"] for row in rows),
        "mb_per_s": {
            "source": round(size(documents) / 1e6 / read_s, 1),
            "units": round(code_bytes / 1e6 / find_s, 2),
            "shaper": round(size(documents) / 1e6 / shape_s, 2),
        },
        "left_out": {reason.reason: reason.count for reason in left_out.reasons()},
        "not_shaped": {reason.reason: reason.count for reason in shaped.reasons()},
    }


def best(work: Callable[[], list[T]]) -> tuple[float, list[T]]:
    """Return the least CPU seconds of three runs, and what the last gave."""
    taken: list[float] = []
    for _ in range(3):
        began = cpu_s()
        made = work()
        taken.append(cpu_s() - began)
    return min(taken), made


def text_of(row: Row) -> str:
    asked, answered = row.example.messages[-2:]
    where = f"{row.origin.path}:{row.origin.first_line}"
    return f"--- {where}\n{asked.content}\n>>>\n{answered.content}\n"


def functions(document: Document) -> list[Unit]:
    """Return the functions of 3 to 120 lines of one document."""
    found = find(document.text or "", document.language or "")
    if isinstance(found, str):
        return []
    return [unit for unit in found.units if unit.is_function and 3 <= unit.lines <= 120]


def size(documents: list[Document]) -> int:
    return sum(len((document.text or "").encode()) for document in documents)


def cpu_s() -> float:
    times = os.times()
    return time.process_time() + times.children_user + times.children_system


if __name__ == "__main__":
    main()
