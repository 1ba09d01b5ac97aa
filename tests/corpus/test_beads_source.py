from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from realm.core.errors import NotFoundError
from realm.corpus.agents.sessions import find_session, session_of
from realm.corpus.agents.workitem import WorkItem, read_item
from realm.corpus.document import Document
from realm.corpus.source import SOURCES, Source
from realm.corpus.tally import Tally

ISSUE = {
    "id": "gt-1",
    "title": "Fix it",
    "description": "long",
    "status": "open",
    "priority": 2,
    "issue_type": "bug",
    "created_at": "2026-01-02T03:04:05.123456789-08:00",
    "created_by": "gastown/crew/max",
    "metadata": '{"a": 1}',
    "assignee": None,
    "design": "",
    "await_type": "timer",
    "ephemeral": 0,
}


def write(path: Path, *rows: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def source(path: Path) -> Source:
    return SOURCES.build({"kind": "beads", "name": "beads", "path": path, "rig": "gastown"})


def read(path: Path, tally: Tally | None = None) -> list[Document]:
    tally = tally or Tally()
    made = source(path)
    return [document for item in list(made.items(tally)) for document in made.read(item, tally)]


def counts(tally: Tally) -> dict[str, int]:
    return {reason.reason: reason.count for reason in tally.reasons()}


def test_an_issue_keeps_every_field_that_says_something(tmp_path: Path) -> None:
    [document] = read(write(tmp_path / "issues.jsonl", ISSUE))
    assert document.form == "record"
    assert document.id == document.group == document.origin.work_item == "gt-1"
    assert document.fields == {
        "id": "gt-1",
        "title": "Fix it",
        "description": "long",
        "status": "open",
        "priority": 2,
        "issue_type": "bug",
        "created_at": "2026-01-02T11:04:05.123456Z",
        "created_by": "gastown/crew/max",
        "metadata": {"a": 1},
        "await_type": "timer",
    }
    assert document.origin.at == datetime(2026, 1, 2, 11, 4, 5, 123456, UTC)
    assert document.origin.rig == "gastown"
    assert document.tags == {"task": "work_item", "issue_type": "bug"}


def test_what_lies_beside_the_issues_is_joined(tmp_path: Path) -> None:
    backup = tmp_path / ".beads" / "backup"
    inside = {"issue_id": "gt-1", "depends_on_id": "gt-2", "type": "blocks"}
    write(backup / "issues.jsonl", {**ISSUE, "labels": ["own"], "dependencies": [inside]})
    write(
        backup / "dependencies.jsonl",
        inside,
        {"issue_id": "gt-1", "depends_on_id": "gt-3", "type": "parent-child"},
        {"issue_id": "gt-9", "depends_on_id": "gt-1"},
        {"issue_id": "gt-1"},
    )
    write(backup / "labels.jsonl", {"issue_id": "gt-1", "label": "ui"})
    write(backup / "comments.jsonl", {"issue_id": "gt-1", "author": "max", "text": "done?"})
    for path in (tmp_path, tmp_path / ".beads", backup):
        tally = Tally()
        [document] = read(path, tally)
        assert document.fields["labels"] == ["own", "ui"]
        assert [one["depends_on_id"] for one in document.fields["dependencies"]] == ["gt-2", "gt-3"]
        assert document.fields["comments"][0]["text"] == "done?"
        assert counts(tally) == {
            "a line that names no issue": 1,
            "a dependency of an issue that is not there": 1,
        }


def test_a_change_beside_the_issues_is_a_change_of_the_issues(tmp_path: Path) -> None:
    write(tmp_path / "issues.jsonl", ISSUE)
    write(tmp_path / "labels.jsonl", {"issue_id": "gt-1", "label": "a"})
    [before] = source(tmp_path).items(Tally())
    assert [before] == list(source(tmp_path).items(Tally()))
    write(tmp_path / "labels.jsonl", {"issue_id": "gt-1", "label": "longer"})
    [after] = source(tmp_path).items(Tally())
    assert before.fingerprint != after.fingerprint


def test_what_is_no_issue_is_counted_or_becomes_what_it_is(tmp_path: Path) -> None:
    path = write(
        tmp_path / "export.jsonl",
        ISSUE,
        {**ISSUE, "title": "Newer", "updated_at": "2026-02-01T00:00:00Z"},
        {"id": "gt-2", "title": "old", "status": "tombstone", "deleted_at": "2026-01-01T00:00:00Z"},
        {"id": "gt-3", "title": " "},
        {"title": "no id"},
        {**ISSUE, "id": "gt-4", "status": "closed"},
        {"_type": "memory", "key": "build", "value": "use make"},
        {"_type": "config", "id": "x", "title": "y"},
        {"key": "issue_prefix", "value": "gt"},
        {"key": "kv.memory.style", "value": "be short"},
        {"issue_id": "gt-1", "depends_on_id": "gt-4"},
    )
    with path.open("a") as file:
        file.write("[1]\n")
    tally = Tally()
    documents = {document.id: document for document in read(path, tally)}
    assert sorted(documents) == ["dependency/11", "gt-1", "gt-4", "memory/build", "memory/style"]
    assert documents["gt-1"].fields["title"] == "Newer"
    assert documents["memory/style"].text == "be short"
    assert documents["memory/style"].fields["subject"] == "style"
    assert counts(tally) == {
        "an older line of the same id": 1,
        "a tombstone": 1,
        "an issue without a title": 1,
        "an issue without an id": 1,
        "closed_at does not fit the status (kept)": 1,
        "a line of another type": 1,
        "a setting": 1,
        "a line that is not strict JSON": 1,
    }


def test_events_keep_what_changed(tmp_path: Path) -> None:
    event = {
        "id": 7,
        "issue_id": "gt-1",
        "event_type": "status_changed",
        "actor": "mayor",
        "new_value": '{"status": "hooked"}',
        "old_value": '{"status": "open", "title": "Fix it"}',
        "created_at": "2026-02-26T15:13:23Z",
        "comment": None,
    }
    plain = {"issue_id": "gt-1", "event_type": "closed", "new_value": "{oops", "id": None}
    first, second = read(write(tmp_path / "events.jsonl", event, plain))
    assert (first.id, first.group, first.origin.work_item) == ("event/7", "gt-1", "gt-1")
    assert first.fields["new_value"] == {"status": "hooked"}
    assert first.fields["old_value"] == {"status": "open"}
    assert "comment" not in first.fields
    assert (second.id, second.fields["new_value"]) == ("event/line2", "{oops")


def test_a_closed_item_leads_to_the_session_that_closed_it(tmp_path: Path) -> None:
    session = "0a1b2c3d-1111-2222-3333-444455556666"
    closed = {**ISSUE, "status": "closed", "closed_at": "2026-01-03T00:00:00Z", "closed_by_session": session}
    item = read_item(closed)
    assert session_of(item) == session
    assert session_of(read_item({**closed, "status": "open"})) is None
    assert session_of(read_item({**closed, "closed_by_session": "../../etc/passwd"})) is None
    assert session_of(WorkItem(id="a", title="b", status="closed")) is None
    (tmp_path / "-project").mkdir()
    path = tmp_path / "-project" / f"{session}.jsonl"
    path.write_text("{}\n")
    assert find_session(tmp_path, session) == path
    with pytest.raises(NotFoundError, match="collect early"):
        find_session(tmp_path, "0" * 36)
    [document] = read(write(tmp_path / "x" / "issues.jsonl", closed))
    assert document.origin.session == session


def test_a_folder_without_an_export_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="bd export"):
        read(tmp_path)
    with pytest.raises(NotFoundError):
        read(tmp_path / "nowhere")


def test_of_several_exports_one_is_read(tmp_path: Path) -> None:
    write(tmp_path / ".beads" / "issues.jsonl", ISSUE)
    write(tmp_path / ".beads" / "backup" / "issues.jsonl", {**ISSUE, "title": "older"})
    tally = Tally()
    [document] = read(tmp_path, tally)
    assert document.fields["title"] == "Fix it"
    assert counts(tally) == {"another export beside the one that was read": 1}


def test_values_of_the_wrong_type_are_left_out(tmp_path: Path) -> None:
    odd = {**ISSUE, "priority": True, "labels": "x", "dependencies": [1, {}], "comments": {"a": 1}}
    odd |= {"status": 3, "created_at": "0001-01-01T00:00:00+14:00", "metadata": "[1]", "due_at": "soon"}
    [document] = read(write(tmp_path / "issues.jsonl", odd))
    assert document.fields["status"] == "open"
    assert document.fields["due_at"] == "soon"
    assert not {"priority", "labels", "dependencies", "comments", "created_at", "metadata"} & set(
        document.fields
    )
