"""The protocol, with contenders that are a few lines of Python."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import psutil
import pytest

from realm.bench.contender import Contender
from realm.core.errors import ChildDiedError

GOOD = """
import sys
from realm.bench.pipe import Pipe
pipe = Pipe()
print("noise of a library")
pipe.tell({"imported": True})
block = bytearray(8 << 20)
pipe.tell({"ready": {"first_loss": 1.5}})
"""
COUNTING = (
    GOOD
    + """
def segment():
    held = bytearray(b"x") * (64 << 20)
    return {"tokens": 7, "trained_tokens": 3}
pipe.serve(segment)
"""
)
DYING = (
    GOOD
    + """
def segment():
    sys.exit("the peer has run into something")
pipe.serve(segment)
"""
)


def _contender(tmp_path: Path, code: str) -> Contender:
    return Contender("peer", [sys.executable, "-c", code], os.environ, tmp_path / "log.txt")


def test_segments_are_timed_and_memory_is_what_they_add(tmp_path: Path, before: set[int]) -> None:
    with _contender(tmp_path, COUNTING) as peer:
        assert peer.ready == {"first_loss": 1.5}
        trained = [peer.train() for _ in range(3)]
        assert all(each.answer == {"tokens": 7, "trained_tokens": 3} for each in trained)
        assert all(0 < each.seconds < peer.setup_s + 60 for each in trained)
        assert trained[-1].peak_mb == pytest.approx(64 + 8, abs=8)
    assert _children() == before
    assert "noise of a library" in (tmp_path / "log.txt").read_text()


def test_contenders_that_take_turns_hold_the_device_for_their_segments_alone(tmp_path: Path) -> None:
    code = """
import time
from realm.bench.pipe import Pipe
pipe, rests, parked = Pipe(), [], [bytearray(b"x") * (96 << 20)]
pipe.tell({"imported": True})
pipe.tell({"ready": {}})
def wake():
    parked.clear()
    time.sleep(0.1)
def rest():
    rests.append(1)
    parked.append(bytearray(b"x") * (96 << 20))
    time.sleep(0.1)
def segment():
    return {"rests": len(rests), "holds": len(parked)}
pipe.serve(segment, {"wake": wake, "rest": rest})
"""
    command = [sys.executable, "-c", code]
    with Contender("peer", command, os.environ, tmp_path / "log.txt", takes_turns=True) as peer:
        began = time.perf_counter()
        trained = [peer.train() for _ in range(2)]
        took = time.perf_counter() - began
    assert [each.answer for each in trained] == [{"rests": 1, "holds": 0}, {"rests": 2, "holds": 0}]
    # What waits in host memory for its turn counts neither as time nor as memory of training.
    assert took - sum(each.seconds for each in trained) >= 4 * 0.1
    assert all(each.peak_mb < 64 for each in trained)


def test_a_contender_that_dies_is_named_with_its_last_words(tmp_path: Path) -> None:
    with _contender(tmp_path, DYING) as peer:
        with pytest.raises(
            ChildDiedError, match=r"peer ended with code 1:\n(.*\n)*the peer has run into some"
        ):
            peer.train()
        with pytest.raises(ChildDiedError):
            peer.train()


def test_a_contender_that_does_not_get_ready(tmp_path: Path, before: set[int]) -> None:
    with pytest.raises(ChildDiedError, match=r"ModuleNotFoundError(.*\n)*.*run it again"):
        _contender(tmp_path, "import no_such_library_at_all")
    assert _children() == before


def test_a_busy_contender_is_ended_at_once(tmp_path: Path, before: set[int]) -> None:
    code = GOOD + "import time\npipe.serve(lambda: time.sleep(600))"
    peer = _contender(tmp_path, code)
    peer._process.stdin.write(b"{}\n")  # type: ignore[union-attr]
    peer._busy = True
    peer.close()
    assert _children() == before


@pytest.fixture
def before() -> set[int]:
    """Children that this process has for the sake of other tests."""
    return _children()


def _children() -> set[int]:
    return {child.pid for child in psutil.Process().children()}
