from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realm.core.errors import NotFoundError
from realm.corpus.agents.townlog import read_daemon_line, read_town_line
from realm.corpus.document import Document, Origin
from realm.corpus.source import SOURCES
from realm.corpus.tally import Tally

DONE = {
    "ts": "2026-01-02T03:04:05Z",
    "source": "gt",
    "type": "done",
    "actor": "gastown/polecats/Toast",
    "payload": {"bead": "gt-abc", "branch": "polecat/Toast"},
    "visibility": "feed",
}
START = {
    "ts": "2026-01-02T04:04:05+01:00",
    "source": "gt",
    "type": "session_start",
    "actor": "mayor/",
    "payload": {"session_id": "s-1", "role": "mayor", "rig": "north"},
    "visibility": "both",
}


def _read(path: Path) -> tuple[list[Document], dict[str, int]]:
    tally = Tally()
    source = SOURCES.build({"kind": "events", "name": "town", "path": str(path), "rig": "home"})
    found = [document for item in source.items(tally) for document in source.read(item, tally)]
    return found, {reason.reason: reason.count for reason in tally.reasons()}


def _jsonl(path: Path, *rows: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def test_an_event_becomes_a_record_with_its_links(tmp_path: Path) -> None:
    _jsonl(tmp_path / ".events.jsonl", DONE)
    [found], counted = _read(tmp_path)
    assert counted == {}
    assert found == Document(
        id=".events.jsonl#1",
        form="record",
        fields=DONE,
        tags={"event": "done"},
        group="gt-abc",
        origin=Origin(
            source="town",
            kind="events",
            path=".events.jsonl",
            first_line=1,
            last_line=1,
            work_item="gt-abc",
            rig="gastown",
            made_by="program",
            at=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        ),
    )


def test_the_events_of_a_session_are_one_group(tmp_path: Path) -> None:
    _jsonl(tmp_path / ".events.jsonl", START, {**START, "type": "session_end"}, {**DONE, "payload": None})
    found, _ = _read(tmp_path)
    assert [document.group for document in found] == ["s-1", "s-1", ""]
    assert [document.origin.session for document in found] == ["s-1", "s-1", None]
    assert [document.origin.rig for document in found] == ["north", "north", "gastown"]
    assert found[0].origin.at == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def test_rows_that_are_no_events_are_counted(tmp_path: Path) -> None:
    _jsonl(tmp_path / ".events.jsonl", {"type": "x"}, {"ts": "now"}, {**DONE, "payload": "x"}, [1], DONE)
    with (tmp_path / ".events.jsonl").open("a") as file:
        file.write('{"ts": "2026')
    found, counted = _read(tmp_path)
    assert [document.id for document in found] == [".events.jsonl#5"]
    assert counted == {
        "a half-written last line": 1,
        "a line that is not strict JSON": 1,
        "a row that is no event: no type or no time": 2,
        "an event whose payload is no object": 1,
    }


def test_all_files_of_a_town_are_found_and_nothing_else(tmp_path: Path) -> None:
    _jsonl(tmp_path / ".events.jsonl", DONE)
    _jsonl(tmp_path / ".feed.jsonl", {**DONE, "summary": "Toast is done", "count": 2})
    _jsonl(tmp_path / "north" / ".beads" / "events.jsonl", DONE)
    _jsonl(tmp_path / "other.jsonl", DONE)
    channel = tmp_path / "events" / "refinery" / "1-1-1.event"
    channel.parent.mkdir(parents=True)
    event = {"type": "MERGE_READY", "channel": "refinery", "timestamp": "2026-01-02T03:04:05Z", "payload": {}}
    channel.write_text(json.dumps(event, indent=2))
    (channel.parent / "2-1-1.event").write_text("{")
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "town.log").write_text(
        "2025-12-26 15:30:45 [spawn] gastown/crew/max spawned for gt-xyz\n\nnoise\n"
        "2025-12-26 15:31:00 [handoff] mayor/ handed off (more)\n"
    )
    (tmp_path / "daemon").mkdir()
    (tmp_path / "daemon" / "daemon.log").write_text(
        "2025/12/26 15:30:45 Heartbeat 1\n"
        "2025/12/26 15:30:46 Convoy hq-cv-a1: 3 tracked issues, 0 ready — checking completion\n"
        "2025/12/26 15:30:47.123456 Convoy: close detected: gt-1 (from hq)\n"
        "2025/12/26 15:30:48 Convoy: convoy hq-cv-a1 already closed, skipping\n"
    )
    found, counted = _read(tmp_path)
    assert [(document.id, document.tags["event"], document.group) for document in found] == [
        (".events.jsonl#1", "done", "gt-abc"),
        (".feed.jsonl#1", "done", "gt-abc"),
        ("daemon/daemon.log#2", "convoy", "hq-cv-a1"),
        ("daemon/daemon.log#3", "convoy", ""),
        ("daemon/daemon.log#4", "convoy", "hq-cv-a1"),
        ("events/refinery/1-1-1.event#1", "MERGE_READY", ""),
        ("logs/town.log#1", "spawn", "gt-xyz"),
        ("logs/town.log#4", "handoff", ""),
    ]
    assert counted == {
        "a channel's message that is not one strict JSON object within 64 KB": 1,
        "a line of another form": 1,
        "a line of the daemon's that is not about convoys": 1,
    }
    spawned = found[6]
    assert spawned.fields["ts"] == "2025-12-26 15:30:45"
    assert spawned.origin.at is None
    assert (spawned.origin.rig, found[7].origin.rig) == ("gastown", "home")


def test_one_file_is_read_under_any_name(tmp_path: Path) -> None:
    _jsonl(tmp_path / "old-events.jsonl", DONE, DONE)
    assert len(_read(tmp_path / "old-events.jsonl")[0]) == 2
    with pytest.raises(NotFoundError):
        _read(tmp_path / "nowhere")


@given(
    line=st.text(max_size=200)
    | st.from_regex(r"20\d\d[-/]01[-/]02 03:04:05 (\[x\] a/b|Convoy:? [a-z]+-\w*).*")
)
def test_any_log_line_is_read_or_passed_over(line: str) -> None:
    for event in (read_town_line(line), read_daemon_line(line)):
        assert event is None or event.fields["type"]
