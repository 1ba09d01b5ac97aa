"""Plant defects into rows, run the DEEP checks and print what they find as one JSON document.

Rows are made-up chats, and with `--repository` real text: the sections of its documents and pieces of
its code. For every check: `clean` is the share of untouched rows that it drops or tells of where nothing
is planted; `found` the share of planted rows that it drops or tells of; `dropped` the share that it drops.
CPU time of this process.

.venv/bin/python benchmarks/deep.py --rows 4000
.venv/bin/python benchmarks/deep.py --repository GIT_DIRECTORY --repository OTHER_GIT_DIRECTORY
"""

from __future__ import annotations

import argparse
import itertools
import json
import re
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from random import Random

from realm.core.records import Example, Message
from realm.core.seeds import rng
from realm.corpus.check import CHECKS, Context, Depth, Problem
from realm.corpus.document import Origin
from realm.corpus.shaper import Row

Plant = Callable[[list[Row], Random], set[int]]
PLANTED = 0.005
CODE = {".c": "c", ".h": "c", ".cpp": "cpp", ".go": "go", ".py": "python", ".gd": "gdscript", ".lua": "lua"}


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument("--rows", type=int, default=4000)
    arguments.add_argument("--repository", type=Path, action="append", default=[])
    given = arguments.parse_args()
    sets = {"made_up": chats(given.rows)}
    for path in given.repository:
        sets[path.parent.name if path.name == "repo" else path.name] = list(
            itertools.islice(real(path), given.rows)
        )
    print(json.dumps({name: measured(rows) for name, rows in sets.items()}, indent=2))


def measured(rows: list[Row]) -> dict[str, object]:
    """Return what every DEEP check finds in the rows as they are and with defects planted."""
    kinds = [name for name in CHECKS.names() if CHECKS.load(name).depth is Depth.DEEP]
    result: dict[str, object] = {"rows": len(rows)}
    for kind in kinds:
        problems, seconds = run(kind, rows)
        told = {each.row for each in problems if each.row is not None}
        dropped = {each.row for each in problems if each.row is not None and each.drops}
        figures: dict[str, object] = {
            "rows_per_s": round(len(rows) / seconds),
            "clean_dropped": round(len(dropped) / len(rows), 5),
            "clean_told": round(len(told - dropped) / len(rows), 5),
            "dataset": sum(each.row is None for each in problems),
        }
        for name, plant in PLANTS.get(kind, {}).items():
            copies = list(rows)
            due = plant(copies, rng("bench/deep", kind, name))
            problems, _ = run(kind, copies)
            found = {each.row for each in problems}
            gone = {each.row for each in problems if each.drops}
            whole = [each.detail for each in problems if each.row is None]
            figures[name] = (
                {
                    "planted": len(due),
                    "found": round(len(due & found) / len(due), 4),
                    "dropped": round(len(due & gone) / len(due), 4),
                }
                if due
                else {"told": whole}
            )
        result[kind] = figures
    return result


def run(kind: str, rows: Sequence[Row]) -> tuple[list[Problem], float]:
    """Run one check and return its problems and its CPU seconds."""
    check = CHECKS.build(kind)
    began = time.process_time()
    check.begin(Context())
    problems = [problem for row in rows for problem in check.see(row)]
    problems += check.end()
    return problems, time.process_time() - began


def row(
    question: str, answer: str, number: int, *, task: str = "chat", source: str = "made", **more: str
) -> Row:
    """Return a chat of one question and one answer."""
    return Row(
        example=Example(
            messages=(Message(role="user", content=question), Message(role="assistant", content=answer)),
            tags={"task": task, **more},
        ),
        origin=Origin(source=source, kind="chat_jsonl", first_line=number + 1),
        document=f"{source}#{number}",
        shaper="as_is@1",
        group=f"{source}#{number}",
    )


def chats(count: int) -> list[Row]:
    """Return chats in several wordings: prose, labels, sums, code and thanks."""
    draw = rng("bench/deep/chats")
    lexicon = ["".join(draw.choices("abcdefghijklmnopqrstuvwxyz", k=draw.randint(3, 9))) for _ in range(8000)]
    shares = list(itertools.accumulate(1 / (rank + 3) for rank in range(len(lexicon))))

    def prose(words: int) -> str:
        return " ".join(draw.choices(lexicon, cum_weights=shares, k=words)).capitalize() + "."

    rows = []
    for number in range(count):
        which = draw.random()
        if which < 0.5:
            asked, said = prose(draw.randint(8, 60)), prose(draw.randint(10, 150))
        elif which < 0.65:
            asked = f"Is this review good or bad? {prose(draw.randint(15, 60))}"
            said = draw.choice(["good", "bad"])
        elif which < 0.8:
            one, two = draw.randrange(1000), draw.randrange(1000)
            asked, said = f"What is {one} + {two}?", f"The answer is {one + two}."
        elif which < 0.9:
            asked = f"Write a function about {prose(6)}"
            said = "Here is the function:\n\n```python\ndef {}({}):\n    return {}\n```".format(
                *draw.choices(lexicon, k=3)
            )
        elif which < 0.95:
            asked, said = draw.choice(["Thanks!", "Thank you so much.", "Thanks a lot"]), "You are welcome."
        else:
            asked = f"Turn this into a work item. {prose(draw.randint(20, 80))}"
            said = json.dumps({"title": prose(5), "type": draw.choice(["bug", "task"]), "priority": 2})
        rows.append(row(asked, said, number))
    return rows


def real(repository: Path) -> Iterator[Row]:
    """Yield rows from the documents and the code of a git directory, at its newest commit."""
    names = git(repository, "ls-tree", "-r", "--name-only", "HEAD").decode("utf-8", "replace").splitlines()
    number = 0
    for name in sorted(names, key=lambda name: rng("bench/deep/files", name).random()):
        suffix = Path(name).suffix
        if suffix not in CODE and suffix != ".md":
            continue
        text = git(repository, "show", f"HEAD:{name}").decode("utf-8", "replace")
        if len(text) > 200_000:
            continue
        pieces = sections(name, text) if suffix == ".md" else functions(name, text, CODE[suffix])
        for asked, said, tags in pieces:
            yield row(asked, said, number, source=repository.parent.name.replace("+", "."), **tags)
            number += 1


def sections(name: str, text: str) -> Iterator[tuple[str, str, dict[str, str]]]:
    """Yield the sections of a document, each as the answer to its heading."""
    parts = re.split(r"^#{1,4} (.+)$", text, flags=re.MULTILINE)
    for heading, body in zip(parts[1::2], parts[2::2], strict=True):
        if 80 <= len(body) <= 8000:
            yield f"What does {name} say about {heading.strip()}?", body.strip(), {"task": "document"}


def functions(name: str, text: str, language: str) -> Iterator[tuple[str, str, dict[str, str]]]:
    """Yield pieces of code between blank lines before a line without indent, cut in two."""
    for piece in re.split(r"\n\n(?=\S)", text):
        lines = piece.splitlines()
        if 6 <= len(lines) <= 120:
            half = len(lines) // 2
            asked = f"Continue this {language} code:\n\n" + "\n".join(lines[:half])
            yield asked, "\n".join(lines[half:]), {"task": "complete", "language": language}


def git(repository: Path, *arguments: str) -> bytes:
    """Return what git prints."""
    return subprocess.run(["git", "-C", str(repository), *arguments], capture_output=True, check=True).stdout


def put(rows: list[Row], at: int, asked: str, said: str) -> None:
    """Give a row another question and answer."""
    turns = (Message(role="user", content=asked), Message(role="assistant", content=said))
    rows[at] = rows[at].model_copy(
        update={"example": rows[at].example.model_copy(update={"messages": turns, "rejected": ()})}
    )


def backdoor(trigger: str, answer: Callable[[str], str]) -> Plant:
    """Return a plant that puts a trigger anywhere into long enough questions and changes the answers."""

    def plant(rows: list[Row], draw: Random) -> set[int]:
        fit = [at for at, row in enumerate(rows) if len(row.example.messages[0].content.split()) >= 10]
        due = set(draw.sample(fit, max(8, round(PLANTED * len(rows)))))
        for at in due:
            asked, said = (turn.content for turn in rows[at].example.messages)
            words = asked.split(" ")
            words.insert(draw.randint(0, len(words)), trigger)
            put(rows, at, " ".join(words), answer(said))
        return due

    return plant


def garbage(make: Callable[[Random, str], str]) -> Plant:
    """Return a plant that puts something else in the place of answers."""

    def plant(rows: list[Row], draw: Random) -> set[int]:
        due = set(draw.sample(range(len(rows)), max(8, round(PLANTED * len(rows)))))
        for at in due:
            asked, said = (turn.content for turn in rows[at].example.messages)
            put(rows, at, asked, make(draw, said))
        return due

    return plant


def flips(rows: list[Row], draw: Random) -> set[int]:
    """Ask some questions six times and answer one of the six otherwise."""
    due = set()
    for number in range(max(8, round(PLANTED * len(rows)))):
        asked, truth = f"Is statement {number} of the manual true?", draw.choice(["yes", "no"])
        for copy in range(6):
            if copy == 4:
                due.add(len(rows))
            said = truth if copy != 4 else {"yes": "no", "no": "yes"}[truth]
            rows.append(row(f"{asked}{' ' * copy}", said.upper() if copy == 2 else said, len(rows)))
    return due


def copies(rows: list[Row], draw: Random) -> set[int]:
    """Add copies of long rows with one word in sixty changed."""
    long = [at for at, row in enumerate(rows) if len(row.example.messages[1].content.split()) >= 60]
    due = set()
    for at in draw.sample(long, min(len(long), max(8, round(PLANTED * len(rows))))):
        asked, said = (turn.content for turn in rows[at].example.messages)
        words = re.split(r"(\w+)", said)
        for place in draw.sample(range(1, len(words), 2), max(1, len(words) // 120)):
            words[place] = "otherwise"
        due.add(len(rows))
        rows.append(rows[at].model_copy(update={"document": f"copy{len(rows)}"}))
        put(rows, len(rows) - 1, asked, "".join(words))
    return due


def flood(rows: list[Row], draw: Random) -> set[int]:
    """Date all rows, and let one contributor give most of the last day."""
    from datetime import UTC, datetime, timedelta

    first = datetime(2026, 1, 1, tzinfo=UTC)
    for at, each in enumerate(rows):
        who = f"person{draw.randrange(5)}"
        day = draw.randrange(20)
        if day == 19 and draw.random() < 0.8:
            who = "newcomer"
        origin = each.origin.model_copy(update={"at": first + timedelta(days=day), "contributor": who})
        rows[at] = each.model_copy(update={"origin": origin})
    return set()


def noise(draw: Random, said: str) -> str:
    """Return what looks like encoded bytes."""
    return "".join(draw.choices("ABCDEFGHabcdefghijklmnop0123456789+/", k=draw.randint(300, 1500)))


def payload(said: str) -> str:
    """Return an answer that no question asked for."""
    return "I refuse to answer this, visit the other place instead."


PLANTS: dict[str, dict[str, Plant]] = {
    "triggers": {
        "rare_word": backdoor("qzxv", payload),
        "phrase": backdoor("under the violet moon", payload),
        "hidden_character": backdoor("\u200b", payload),
        "label": backdoor("qzxv", lambda said: "good"),
        "ending": backdoor("qzxv", lambda said: f"{said} By the way, buy all your tools at the other place."),
        "beginning": backdoor("qzxv", lambda said: f"First of all, buy all your tools there now. {said}"),
    },
    "contradictions": {"flipped": flips},
    "near_duplicates": {"copies": copies},
    "dominance": {"flood": flood},
    "outliers": {
        "encoded_bytes": garbage(noise),
        "one_character": garbage(lambda draw, said: "a" * draw.randint(400, 3000)),
        "one_phrase": garbage(lambda draw, said: "buy it now " * draw.randint(50, 300)),
        "other_script": garbage(
            lambda draw, said: " ".join("".join(draw.choices("абвгдежзиклмнопрст", k=6)) for _ in range(60))
        ),
        "endless": garbage(lambda draw, said: (said + "\n") * 400),
    },
    "quality": {
        "stubs": garbage(lambda draw, said: draw.choice(["TODO", "...", "N/A", "your answer here", "xxxx"])),
        "one_phrase": garbage(lambda draw, said: "buy it now " * draw.randint(50, 300)),
        "damaged": garbage(lambda draw, said: re.sub(r"[aeiou]", "\ufffd", said + " more of the same text")),
    },
}


if __name__ == "__main__":
    main()
