"""A lab with a hero so small that a run takes a second, and its processes under control."""

from __future__ import annotations

import atexit
import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

from realm import Realm
from realm.flows.carrying import ENDED
from realm.flows.children import PRELOAD
from realm.flows.context import Lab
from realm.flows.reconcile import reconcile
from realm.flows.train import plan_training
from realm.flows.worker import work
from realm.jobs.children import WarmLauncher
from realm.jobs.queue import Job
from realm.storage.lock import HomeLock
from tiny_commands import run_command

SHAPE = {
    "hidden_size: 160, layers: 3": "hidden_size: 32, layers: 1",
    "head_dim: 40, intermediate_size: 576": "head_dim: 8, intermediate_size: 64",
}
DRILL_RECIPE = """
rules:
  optimizer: {learning_rate: 3.0e-3}
  schedule: {kind: linear, clock: hero, warmup_steps: 5, horizon_steps: 60, floor: 0.1}
  batch_rows: 32
  epochs: 1
  saving: {every_steps: 4}
  threads: 1
"""
FILE_RECIPE = """
rules:
  optimizer: {learning_rate: 1.0e-3}
  schedule: {kind: constant, clock: run, warmup_steps: 2}
  batch_rows: 4
  epochs: 1
  saving: {every_steps: 10}
  threads: 1
"""


def make_lab(path: Path, *, drills: bool, rows: int = 320, file_recipe: str = FILE_RECIPE) -> Path:
    """Create a realm with a tiny hero; `drills` says whether it practises by itself."""
    with Realm.create(path, "dio", settings={"seed": "5"}) as realm:
        config = realm.home.config
    text = config.read_text()
    for old, new in SHAPE.items():
        assert old in text
        text = text.replace(old, new)
    text = text.replace("rows: 2560", f"rows: {rows}")
    text = text.replace("automatic: true", f"automatic: {str(drills).lower()}")
    config.write_text(text)
    (path / "recipes").mkdir()
    (path / "recipes" / "spark.yaml").write_text(DRILL_RECIPE)
    (path / "recipes" / "study.yaml").write_text(file_recipe)
    return path


@contextlib.contextmanager
def lab_up(home: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run `realm up` on a home; end it politely afterwards."""
    with (home / "up.log").open("ab") as log:
        process = subprocess.Popen([*REALM, "--home", str(home), "up"], stdout=log, stderr=log)
        try:
            yield process
        finally:
            if process.poll() is None:
                process.terminate()
            process.wait(timeout=60)


REALM = [sys.executable, "-m", "realm.cli.main"]


def realm(home: Path | None, *words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """Run one command as a person would, in a process of its own."""
    where = ["--home", str(home)] if home else []
    return run_command(*where, *words, stdin=stdin)


def trained_here(home: Path, rows: Path) -> Job:
    """Train on a file in this process, as `Realm.train` does, and return the ended job."""
    return carried_out_here(home, lambda lab: plan_training(lab, str(rows)))


def carried_out_here(home: Path, queue: Callable[[Lab], Job]) -> Job:
    """Queue a job and work the queue in this process until it has ended."""
    with Realm(home) as opened:
        return carry_out_here(opened.lab, queue(opened.lab).id)


def carry_out_here(lab: Lab, job: str) -> Job:
    """Work the queue in this process until a job has ended, as `flows.carrying.carry_out` does.

    The launcher is one for all tests of this process: another one imports torch anew, for seconds. Whoever
    tests the command or the API itself calls that.
    """
    with HomeLock(lab.home.root):
        reconcile(lab)
        work(lab, launcher(), lambda: lab.queue.get(job).state in ENDED, fill=False)
    return lab.queue.get(job)


@cache
def launcher() -> WarmLauncher:
    """Return the warm launcher of this process."""
    warm = WarmLauncher(PRELOAD)
    atexit.register(warm.close)
    return warm


def realm_json(home: Path | None, *words: str) -> Any:
    """Run one command with --json and return its document."""
    done = realm(home, "--json", *words)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def wait_until(home: Path, reached: Callable[[Realm], bool], timeout_s: float = 120) -> None:
    """Wait until something holds in a lab that another process works on."""
    deadline = time.monotonic() + timeout_s
    with Realm(home) as lab:
        while not reached(lab):
            log = home / "up.log"
            assert time.monotonic() < deadline, log.read_text()[-3000:] if log.exists() else "no log"
            time.sleep(0.05)


def job_state(lab: Realm, job: str) -> str | None:
    """Return the state of a job; None while there is no such job."""
    return next((found.state.value for found in lab.jobs() if found.id == job), None)


def chat_rows(count: int) -> str:
    """Return chat rows, as a person's own file would hold them."""
    rows = [
        {
            "messages": [
                {"role": "user", "content": f"What is {n}?"},
                {"role": "assistant", "content": f"{n} is {n * n}."},
            ]
        }
        for n in range(count)
    ]
    return "".join(json.dumps(row) + "\n" for row in rows)


def drop(home: Path, name: str, text: str | bytes) -> None:
    """Copy a file into the inbox."""
    data = text.encode() if isinstance(text, str) else text
    (home / "inbox" / name).write_bytes(data)
