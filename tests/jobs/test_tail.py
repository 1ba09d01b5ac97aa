from __future__ import annotations

import tempfile
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realm.core import events
from realm.core.events import RunInterrupted
from realm.jobs.tail import EventLog, EventTail

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


def interrupted(step: int) -> RunInterrupted:
    return RunInterrupted(run="first-blood", step=step)


def test_events_arrive_once_in_order_and_stamped(tmp_path: Path) -> None:
    tail = EventTail(tmp_path / "run" / "events.jsonl")
    assert tail.read() == []
    log = EventLog(tmp_path / "run" / "events.jsonl", clock=lambda: NOON)
    log.emit(interrupted(1))
    log.emit(interrupted(2))
    told = tail.read()
    assert [event.step for event in told if isinstance(event, RunInterrupted)] == [1, 2]
    assert told[0].at == "2026-11-20T12:00:00+00:00"
    assert tail.read() == []
    log.emit(interrupted(3))
    assert len(tail.read()) == 1
    log.close()


def test_a_tail_goes_on_from_a_stored_offset(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "events.jsonl")
    log.emit(interrupted(1))
    first = EventTail(tmp_path / "events.jsonl")
    first.read()
    log.emit(interrupted(2))
    log.close()
    (event,) = EventTail(tmp_path / "events.jsonl", first.offset).read()
    assert event == interrupted(2).model_copy(update={"at": event.at})


def test_a_torn_line_waits_for_its_end(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    line = events.write(interrupted(7)).encode() + b"\n"
    tail = EventTail(path)
    for cut in range(len(line)):
        path.write_bytes(line[:cut])
        assert tail.read() == []
    path.write_bytes(line)
    assert tail.read() == [interrupted(7)]
    assert tail.garbled == 0


@given(cut=st.integers(min_value=0, max_value=60), steps=st.integers(min_value=1, max_value=3))
def test_a_writer_after_a_killed_one_loses_nothing(cut: int, steps: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "events.jsonl"
        torn = events.write(interrupted(0)).encode()[:cut]
        path.write_bytes(torn)
        log = EventLog(path)
        for step in range(1, steps + 1):
            log.emit(interrupted(step))
        log.close()
        tail = EventTail(path)
        told = [event.step for event in tail.read() if isinstance(event, RunInterrupted)]
        assert told[-steps:] == list(range(1, steps + 1))
        assert tail.garbled + len(told) == steps + (1 if torn else 0)


def test_a_garbled_line_is_counted_and_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    good = events.write(interrupted(1)).encode()
    path.write_bytes(b'{"kind": "run_interr\n' + b"\x00\xff\xfe\n" + b'{"kind": "unknown"}\n' + good + b"\n")
    tail = EventTail(path)
    assert tail.read() == [interrupted(1)]
    assert tail.garbled == 3


@pytest.mark.parametrize("way", ["shortened", "removed"])
def test_a_file_that_lost_what_was_read_is_read_anew_and_it_is_told(tmp_path: Path, way: str) -> None:
    path = tmp_path / "events.jsonl"
    log = EventLog(path)
    for step in (1, 2, 3):
        log.emit(interrupted(step))
    tail = EventTail(path)
    assert len(tail.read()) == 3
    assert (tail.read(), tail.cut) == ([], False)
    if way == "shortened":
        path.write_bytes(b"")
    else:
        path.unlink()
        assert (tail.read(), tail.cut) == ([], True)
        log.close()
        log = EventLog(path)
    log.emit(interrupted(4))
    log.close()
    told = [event.step for event in tail.read() if isinstance(event, RunInterrupted)]
    assert (told, tail.cut) == ([4], True)
