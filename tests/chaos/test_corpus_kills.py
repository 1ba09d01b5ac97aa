"""Kill collecting and building at random moments: nothing is lost or doubled, the bytes are the same."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from realm import Realm
from realm.core.records import ArtifactKind
from realm.flows.documents import CollectedDocuments
from tiny_lab import make_lab

pytestmark = pytest.mark.chaos

SCRIPT = Path(__file__).with_name("corpus_once.py")
KILLS = 14


def test_a_killed_collection_goes_on_and_comes_to_the_same(tmp_path: Path) -> None:
    source, home = sources(tmp_path / "in"), make_lab(tmp_path / "calm", drills=False)
    seconds(make_lab(tmp_path / "first", drills=False), "add", source)  # compiles and caches modules
    calm = seconds(home, "add", source)
    killed = make_lab(tmp_path / "killed", drills=False)
    kills = kill_until_done(killed, "add", source, calm, random.Random(1))
    assert kills >= KILLS // 3
    assert facts(killed) == facts(home)
    assert len(facts(home)["documents"]) == 190  # of 200 rows ten wait for a person
    assert len(facts(home)["collections"]) >= 5
    again = collected_again(killed, source)
    assert (again, stages(killed)) == (0, [])


def test_a_killed_build_goes_on_and_comes_to_the_same(tmp_path: Path) -> None:
    source, home = sources(tmp_path / "in"), make_lab(tmp_path / "calm", drills=False)
    seconds(home, "add", source)
    killed, first = tmp_path / "killed", tmp_path / "first"
    shutil.copytree(home, killed)
    shutil.copytree(home, first)
    seconds(first, "build", source)
    calm = seconds(home, "build", source)
    kills = kill_until_done(killed, "build", source, calm, random.Random(2))
    assert kills >= KILLS // 3
    assert datasets(killed) == datasets(home)
    assert len(datasets(home)) == 2
    assert stages(killed) == []


def sources(folder: Path) -> Path:
    """Write small files and a large one; ten rows hold what may be a secret."""
    folder.mkdir()
    numbers = iter(range(1000))
    for name, count in [("large", 120), *((f"small-{part}", 10) for part in range(8))]:
        rows = [row(next(numbers), count) for _ in range(count)]
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(each) + "\n" for each in rows))
    return folder


def row(number: int, count: int) -> dict[str, Any]:
    doubt = " The old password was Tr0ub4dor&3 or so." if count > 10 and number % 12 == 5 else ""
    said = f"Step {number}: take {number * 7 % 911} parts, then add {number * 13 % 677} more.{doubt} " * (
        2 if doubt == "" else 1
    )
    asked = f"What is step number {number} of recipe {number * 31 % 503}?"
    return {"messages": [{"role": "user", "content": asked}, {"role": "assistant", "content": said}]}


def start(home: Path, verb: str, source: Path) -> subprocess.Popen[str]:
    """Start the script and wait until its work begins."""
    process = subprocess.Popen(
        [sys.executable, str(SCRIPT), str(home), verb, str(source)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.stdout.close()
    return process


def seconds(home: Path, verb: str, source: Path) -> float:
    """Let it end undisturbed and return how long the work took."""
    process = start(home, verb, source)
    began = time.monotonic()
    assert process.wait() == 0
    return time.monotonic() - began


def kill_until_done(home: Path, verb: str, source: Path, calm: float, draw: random.Random) -> int:
    """Kill it at random moments, early ones more often, until it has been killed enough; then let it end."""
    kills = 0
    for _ in range(KILLS):
        process = start(home, verb, source)
        time.sleep(calm * draw.random() ** 1.5)
        if process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)
            kills += 1
        process.wait()
        with Realm(home) as lab:
            for record in lab.lab.ledger.sources.collections():
                lab.lab.store.verified(ArtifactKind.COLLECTION, record.hash)
    assert start(home, verb, source).wait() == 0
    return kills


def facts(home: Path) -> dict[str, Any]:
    """Return everything that was collected, in its order."""
    with Realm(home) as lab:
        documents = CollectedDocuments(lab.lab, lab.lab.ledger.sources.list())
        held = sorted(
            json.dumps({**json.loads(path.read_bytes()), "id": ""}, sort_keys=True)
            for path in (home / "vault" / "quarantine" / "scrub").rglob("*.json")
            if path.name.endswith(".row.json")
        )
        return {
            "documents": [each.model_dump_json() for each in documents.of({"mine"})],
            "collections": {each.hash for each in documents.collections},
            "held": held,
        }


def collected_again(home: Path, source: Path) -> int:
    with Realm(home) as lab:
        return sum(each.new for each in lab.collect(source, kind="chat_jsonl", name="mine"))


def datasets(home: Path) -> set[str]:
    with Realm(home) as lab:
        found = {record.hash for record in lab.lab.ledger.datasets.list()}
        for each in found:
            lab.lab.store.verified(ArtifactKind.DATASET, each)
        return found


def stages(home: Path) -> list[str]:
    """Return what was left unfinished of collections and datasets."""
    with Realm(home) as lab:
        lab.lab.store.clear_stages(ArtifactKind.COLLECTION)
        lab.lab.store.clear_stages(ArtifactKind.DATASET)
    folder = home / "vault" / ".stage"
    return (
        [path.name for path in folder.iterdir() if not path.name.startswith(".")] if folder.is_dir() else []
    )
