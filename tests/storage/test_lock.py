from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from realm.core.errors import HeldError, StorageError
from realm.storage.lock import HomeLock, exclusive, holder

HOLD = """
import os, subprocess, sys
from pathlib import Path
from realm.storage.lock import HomeLock
lock = HomeLock(Path(sys.argv[1]))
lock.acquire()
if sys.argv[2] == "fork" and os.fork() == 0:
    os.close(1)
    os.read(0, 1)
    os._exit(0)
if sys.argv[2] == "exec":
    subprocess.Popen([sys.executable, "-c", "input()"], stdout=subprocess.DEVNULL, close_fds=False)
print(os.getpid(), flush=True)
if sys.argv[2] == "plain":
    sys.stdin.readline()
    lock.release()
    print("released", flush=True)
    sys.stdin.readline()
else:
    os.kill(os.getpid(), 9)
"""


def hold(home: Path, mode: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", HOLD, str(home), mode],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_nobody_holds_a_new_home(tmp_path: Path) -> None:
    assert holder(tmp_path) is None
    with HomeLock(tmp_path):
        found = holder(tmp_path)
        assert found is not None
        assert (found.pid, found.host) == (os.getpid(), socket.gethostname())
        assert found.since.tzinfo is not None
        assert found.command
    assert holder(tmp_path) is None


def test_the_second_holder_is_told_who_the_first_is(tmp_path: Path) -> None:
    with hold(tmp_path, "plain") as first:
        assert first.stdin
        assert first.stdout
        pid = first.stdout.readline().strip()
        with pytest.raises(HeldError) as caught:
            HomeLock(tmp_path).acquire()
        assert f"process {pid} on {socket.gethostname()} since 20" in caught.value.what
        found = holder(tmp_path)
        assert found is not None
        assert found.pid == int(pid)
        first.stdin.write("\n")
        first.stdin.flush()
        assert first.stdout.readline() == "released\n"
        with HomeLock(tmp_path):
            pass
        first.stdin.write("\n")


@pytest.mark.parametrize("mode", ["fork", "exec"])
def test_a_killed_holder_frees_the_home_though_its_children_live(tmp_path: Path, mode: str) -> None:
    with hold(tmp_path, mode) as first:
        assert first.stdout
        first.stdout.readline()
        assert first.wait() == -9
        # A child that was forked a moment ago lets go of the lock as soon as it runs.
        give_up = time.monotonic() + 30
        while holder(tmp_path) is not None and time.monotonic() < give_up:
            time.sleep(0.01)
        assert holder(tmp_path) is None
        with HomeLock(tmp_path):
            pass
        assert first.stdin
        first.stdin.close()  # now the child ends


def test_a_home_is_held_against_the_same_process_too(tmp_path: Path) -> None:
    with HomeLock(tmp_path), pytest.raises(HeldError, match=f"process {os.getpid()}"):
        HomeLock(tmp_path).acquire()


def test_looking_never_keeps_anybody_from_acquiring(tmp_path: Path) -> None:
    stop = threading.Event()

    def look() -> None:
        while not stop.is_set():
            holder(tmp_path)

    lookers = [threading.Thread(target=look) for _ in range(2)]
    for looker in lookers:
        looker.start()
    try:
        for _ in range(100):
            with HomeLock(tmp_path):
                pass
    finally:
        stop.set()
        for looker in lookers:
            looker.join()


def test_exclusive_gives_up_with_a_next_step(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with (
        exclusive(path),
        pytest.raises(StorageError, match="another process"),
        exclusive(path, timeout_s=0.05),
    ):
        pytest.fail("two at once")
    with exclusive(path, timeout_s=0):
        pass
