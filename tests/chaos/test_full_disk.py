"""A disk that fills up while the lab works: the run says so, nothing old is harmed, a retry goes on."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from realm import Realm
from realm.core.records import ArtifactKind
from tiny_lab import chat_rows, drop, job_state, lab_up, make_lab, realm, wait_until

pytestmark = pytest.mark.chaos

SIZE_MB = 96


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={SIZE_MB}m", "tmpfs", str(folder)],
        capture_output=True,
        text=True,
    )
    if done.returncode != 0:
        pytest.skip(f"NOT RUN, mounting a small tmpfs needs root: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(path: Path) -> None:
    with contextlib.suppress(OSError), path.open("wb", buffering=0) as file:
        while True:
            file.write(b"\0" * 4096)


def test_a_full_disk_fails_the_run_harms_nothing_and_a_retry_goes_on(small_disk: Path) -> None:
    home = make_lab(small_disk / "home", drills=False)
    with lab_up(home):
        drop(home, "first.jsonl", chat_rows(40))
        wait_until(home, lambda lab: job_state(lab, "run-0001") == "done")
        drop(home, "second.jsonl", chat_rows(1200))
        wait_until(home, lambda lab: job_state(lab, "run-0002") == "running")
        wait_until(home, lambda lab: lab.lab.ledger.runs.get("run-0002").step >= 10)
        fill(small_disk / "filler")
        wait_until(home, lambda lab: "is full" in (home / "up.log").read_text() or failed(lab))
        (small_disk / "filler").unlink()
        wait_until(home, failed)
        with Realm(home) as lab:
            assert "space" in lab.lab.queue.get("run-0002").reason
            for checkpoint in lab.checkpoints():
                lab.lab.store.verified(ArtifactKind.CHECKPOINT, checkpoint.hash)
            before = lab.lab.ledger.runs.get("run-0002").step
        assert realm(home, "queue", "retry", "run-0002").returncode == 0
        wait_until(home, lambda lab: lab.lab.ledger.runs.get("run-0002").step > before)
        realm(home, "run", "stop", "run-0002")
        wait_until(home, lambda lab: job_state(lab, "run-0002") == "done")


def failed(lab: Realm) -> bool:
    return job_state(lab, "run-0002") == "failed"
