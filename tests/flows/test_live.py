"""Sources that are collected by themselves: from realm.yaml, watched, handed in by hooks and work items."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from realm import Realm
from realm.core.errors import (
    ConfigError,
    HeldError,
    NotFoundError,
    RealmError,
    RefusedError,
    StateError,
    StorageError,
    UsageError,
)
from realm.core.records import ArtifactKind
from realm.corpus.collection import read_documents
from realm.corpus.document import Document
from realm.corpus.files import watch
from realm.corpus.scrub import Scrubber
from realm.flows import handed, live
from realm.flows import preview as previewing
from realm.flows.context import Lab
from realm.flows.documents import CollectedDocuments
from realm.flows.handed import hand_in
from realm.flows.recognise import kind_of
from realm.flows.sources import collect_source, held
from tiny_lab import lab_up, make_lab, wait_until

FIRST = "0a1b2c3d-1111-2222-3333-444455556666"
SECOND = "0a1b2c3d-1111-2222-3333-777788889999"


def chats(path: Path, count: int) -> Path:
    """Write chats, one a line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [
        [{"role": "user", "content": f"What is {n} + {n}?"}, {"role": "assistant", "content": str(2 * n)}]
        for n in range(count)
    ]
    path.write_text("".join(json.dumps({"messages": row}) + "\n" for row in rows))
    return path


def session(folder: Path, name: str, turns: int) -> Path:
    """Write a session as an agent's tool does."""
    folder.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    for turn in range(turns):
        user = {"role": "user", "content": f"Question {turn}?"}
        answer = {"role": "assistant", "id": f"m{turn}", "content": [{"type": "text", "text": f"A{turn}."}]}
        for message in (user, answer):
            rows.append(
                {
                    "type": message["role"],
                    "uuid": f"u{len(rows)}",
                    "parentUuid": f"u{len(rows) - 1}" if rows else None,
                    "sessionId": name,
                    "timestamp": f"2026-03-01T10:{len(rows):02d}:00.000Z",
                    "cwd": "/home/u/code",
                    "message": message,
                }
            )
    file = folder / f"{name}.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def issues(path: Path, **closed_by: str) -> Path:
    """Write an export of two work items, closed by sessions."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [
        {
            "id": name.replace("_", "-"),
            "title": "Do it",
            "status": "closed" if by else "open",
            "issue_type": "task",
            "priority": 1,
            "created_at": "2026-03-01T09:00:00Z",
            **({"closed_at": "2026-03-01T11:00:00Z", "closed_by_session": by} if by else {}),
        }
        for name, by in closed_by.items()
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


_THREADS = threading.local()


def scrubber(lab: Lab) -> Scrubber:
    """Return a scrubber of this thread: building one takes a second."""
    if not hasattr(_THREADS, "scrubber"):
        _THREADS.scrubber = Scrubber()
    found: Scrubber = _THREADS.scrubber
    return found


@pytest.fixture(autouse=True)
def one_scrubber(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (live, handed, previewing):
        monkeypatch.setattr(module, "scrubber_of", scrubber)


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look for new sources, and at what changed, within tenths of a second instead of seconds."""
    for name in ("POLL_S", "REFRESH_S"):
        monkeypatch.setattr(watch, name, 0.2)
    monkeypatch.setattr(live, "Watch", partial(watch.Watch, settle_s=0.3))
    for name in ("_REST_S", "_PAUSE_S"):
        monkeypatch.setattr(live, name, 0.1)


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Realm]:
    monkeypatch.setenv("CLAUDE_CONFIG_DIR", str(tmp_path / "agent"))
    with Realm.create(tmp_path / "lab", template="dio") as realm:
        yield realm


def with_sources(lab: Realm, *sources: dict[str, Any]) -> Realm:
    """Write sources into realm.yaml and open the realm anew."""
    data = yaml.safe_load(lab.home.config.read_text())
    data["corpus"] = {"sources": list(sources)}
    lab.home.config.write_text(yaml.safe_dump(data, allow_unicode=True))
    return Realm(lab.home.root)


def stored(lab: Realm, source: str) -> dict[str, Document]:
    """Return a source's documents by id; each must be there once."""
    found = list(CollectedDocuments(lab.lab, [lab.lab.ledger.sources.get(source)]).of({source}))
    assert len({one.id for one in found}) == len(found)
    return {one.id: one for one in found}


# --- realm.yaml ---------------------------------------------------------------------------


def test_sources_of_the_config_are_collected_and_follow_it(lab: Realm, tmp_path: Path) -> None:
    chats(lab.home.root / "own" / "a.jsonl", 3)
    lab.collect(chats(tmp_path / "added.jsonl", 2))
    with with_sources(lab, {"kind": "chat_jsonl", "name": "own", "path": "own"}) as realm:
        found = {each.source: each.documents for each in realm.collect()}
        assert found == {"own": 3, "added": 0}  # the path in it begins at the realm's folder
        assert {each.new for each in realm.collect()} == {0}
    config = {"kind": "chat_jsonl", "name": "own", "path": "own", "licence": "MIT"}
    with with_sources(lab, config) as realm:
        assert {each.source: each.new for each in realm.collect()} == {"own": 1, "added": 0}
        assert {one.origin.licence for one in stored(realm, "own").values()} == {"MIT"}


def test_a_bad_source_keeps_no_other_from_being_collected(lab: Realm, tmp_path: Path) -> None:
    added = chats(tmp_path / "added.jsonl", 2)
    lab.collect(added)
    chats(tmp_path / "good.jsonl", 4)
    sources = (
        {"kind": "chat_jsonl", "name": "gone", "path": str(tmp_path / "gone")},
        {"kind": "terminal", "name": "added", "path": str(tmp_path)},
        {"kind": "chat_jsonl", "name": "good", "path": str(tmp_path / "good.jsonl")},
        {"kind": "chat_jsonl", "name": "good", "path": str(tmp_path / "gone")},
    )
    failed: dict[str, RealmError] = {}
    with with_sources(lab, *sources) as realm:
        found = realm.collect(on_error=lambda name, error: failed.update({f"{name}{len(failed)}": error}))
        assert [(each.source, each.documents) for each in found] == []
        assert {name: type(error) for name, error in failed.items()} == {
            "added0": StateError, "good1": ConfigError, "gone2": NotFoundError
        }  # fmt: skip
    with with_sources(lab, *sources[:3]) as realm:
        with pytest.raises(RefusedError, match=r"2 of 3 sources.*added, gone"):
            realm.collect()
        assert len(stored(realm, "good")) == 4


# --- naming a source ----------------------------------------------------------------------


def test_the_kind_shows_in_the_path(tmp_path: Path) -> None:
    (tmp_path / "work" / ".git").mkdir(parents=True)
    for part in ("objects", "refs"):
        (tmp_path / "bare.git" / part).mkdir(parents=True)
    (tmp_path / "bare.git" / "HEAD").write_text("ref: refs/heads/main\n")
    log = session(tmp_path / "projects" / "-home-u-code", FIRST, 1)
    export = issues(tmp_path / "town" / ".beads" / "issues.jsonl", gt_1="")
    shown = {
        chats(tmp_path / "chats.jsonl", 1): "chat_jsonl",
        tmp_path / "work": "repo",
        tmp_path / "bare.git": "repo",
        tmp_path / "projects": "claude_code",
        log.parent: "claude_code",
        log: "claude_code",
        tmp_path / "town": "beads",
        export.parent: "beads",
        export: "beads",
    }
    assert {path: kind_of(str(path)) for path in shown} == shown
    assert kind_of("https://example.org/a/b.git") == "repo"
    assert kind_of("git@example.org:a/b.git") == "repo"
    (tmp_path / "plain").mkdir()
    with pytest.raises(UsageError, match="does not show") as raised:
        kind_of(str(tmp_path / "plain"))
    assert "terminal" in raised.value.hint
    with pytest.raises(NotFoundError):
        kind_of(str(tmp_path / "none"))
    with pytest.raises(ConfigError):
        kind_of("ftp://example.org/a")


def test_a_place_keeps_its_name_and_settings_and_a_name_its_place(lab: Realm, tmp_path: Path) -> None:
    first, second = chats(tmp_path / "a" / "chats.jsonl", 2), chats(tmp_path / "b" / "chats.jsonl", 3)
    lab.collect(first, settings={"licence": "MIT"})
    lab.collect(second)
    [again] = lab.collect(first)
    assert (again.source, again.new) == ("chats", 0)
    configs = {one.name: one.config for one in lab.lab.ledger.sources.list()}
    assert configs["chats"]["licence"] == "MIT"
    assert configs["chats-2"]["path"] == str(second)
    projects = session(tmp_path / "projects" / "-home-u-code", FIRST, 1).parent
    assert lab.collect(projects)[0].source == "claude_code"  # a folder named after a home is no name
    with pytest.raises(StorageError, match="too long"):
        lab.collect("x" * 300)
    with pytest.raises(ConfigError, match="licenze"):
        lab.collect(first, settings={"licenze": "MIT"})


def test_a_preview_shows_documents_and_writes_nothing(lab: Realm, tmp_path: Path) -> None:
    doubt = "blueberry" + "mountain"
    path = chats(tmp_path / "chats.jsonl", 3)
    path.write_text(path.read_text() + json.dumps({"prompt": "?", "completion": "x"}) + "\n")
    secret = chats(tmp_path / "doubt.jsonl", 1)
    secret.write_text(secret.read_text().replace("What is", f"password = '{doubt}' What is"))
    shown = lab.preview(path, limit=2, settings={"tags": {"domain": "sums"}})
    assert (shown.kind, shown.items, len(shown.documents)) == ("chat_jsonl", 1, 2)
    assert shown.detected is not None
    assert shown.detected.others
    assert shown.documents[0].document is not None
    assert shown.documents[0].document.tags["domain"] == "sums"
    held = lab.preview(secret).documents[0]
    assert held.document is None
    assert held.findings
    assert doubt not in lab.preview(secret).model_dump_json()
    assert lab.lab.ledger.sources.list() == []
    assert not any((lab.home.vault / "collections").glob("*"))


# --- one at a time ------------------------------------------------------------------------


def test_two_collections_of_one_source_wait_for_each_other(lab: Realm, tmp_path: Path) -> None:
    lab.collect(chats(tmp_path / "chats.jsonl", 5))
    with held(lab.lab, "chats"), pytest.raises(HeldError, match=r"source chats: process \d+"):
        collect_source(lab.lab, "chats", scrubber(lab.lab), lambda progress: None, wait_s=0.1)
    chats(tmp_path / "chats.jsonl", 40)
    counts: list[int] = []

    def collect() -> None:
        with Realm(lab.home.root) as other:
            counts.append(sum(each.documents for each in other.collect()))

    threads = [threading.Thread(target=collect) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(counts) == [0, 0, 40]
    assert len(stored(lab, "chats")) == 40


# --- hooks --------------------------------------------------------------------------------


def test_a_session_handed_in_again_replaces_the_shorter_one(lab: Realm, tmp_path: Path) -> None:
    folder = tmp_path / "agent" / "projects" / "-home-u-code"
    file = session(folder, FIRST, 1)
    session(folder, SECOND, 1)
    assert hand_in(lab.lab, file).documents == 1
    assert set(stored(lab, "claude_code")) == {FIRST}
    session(folder, FIRST, 3)
    assert hand_in(lab.lab, file).new == 1
    assert hand_in(lab.lab, file).new == 0
    [document] = stored(lab, "claude_code").values()
    assert len(document.messages) == 6
    # Nobody asked for the other sessions of this machine.
    assert {each.source: each.items for each in lab.collect()} == {"claude_code": 0}
    assert [one.name for one in lab.lab.ledger.sources.list()] == ["claude_code"]
    # Now somebody does: the same source, the same sessions, none twice.
    [everything] = lab.collect(tmp_path / "agent" / "projects", settings={"handed_in": False})
    assert everything.source == "claude_code"
    assert set(stored(lab, "claude_code")) == {FIRST, SECOND}
    assert hand_in(lab.lab, file).new == 0


def test_a_known_folder_of_sessions_takes_its_own(lab: Realm, tmp_path: Path) -> None:
    folder = tmp_path / "elsewhere" / "project"
    file = session(folder, FIRST, 1)
    with pytest.raises(RefusedError, match="beneath no folder"):
        hand_in(lab.lab, file)
    assert lab.lab.ledger.sources.list() == []
    config = {"kind": "claude_code", "name": "mine", "path": str(tmp_path / "elsewhere")}
    other = {"kind": "claude_code", "name": "another", "path": str(tmp_path / "agent")}
    with with_sources(lab, config, other) as realm:
        assert hand_in(realm.lab, file).source == "mine"
        (tmp_path / "agent").mkdir()
        assert {each.source: each.new for each in realm.collect()} == {"mine": 0, "another": 0}


def test_nothing_but_a_session_beneath_the_folder_is_taken(lab: Realm, tmp_path: Path) -> None:
    folder = tmp_path / "agent" / "projects" / "p"
    outside = session(tmp_path / "outside", FIRST, 1)
    folder.mkdir(parents=True)
    (folder / f"{SECOND}.jsonl").symlink_to(outside)
    (folder / "loop.jsonl").symlink_to("loop.jsonl")
    for file in (
        folder / f"{SECOND}.jsonl",
        folder / ".." / ".." / ".." / "outside" / f"{FIRST}.jsonl",
        folder / "none.jsonl",
        folder / "loop.jsonl",
        folder / ("x" * 300 + ".jsonl"),
        folder,
    ):
        with pytest.raises((RefusedError, NotFoundError)):
            hand_in(lab.lab, file)
    assert lab.lab.ledger.sources.list() == []


# --- work items ---------------------------------------------------------------------------


def test_a_closed_work_item_brings_its_session(lab: Realm, tmp_path: Path) -> None:
    folder = tmp_path / "agent" / "projects" / "p"
    session(folder, FIRST, 1)
    session(folder, SECOND, 1)
    export = issues(tmp_path / "town" / "issues.jsonl", gt_1="", gt_2="")
    [only] = lab.collect(export)
    assert only.source == "issues"
    issues(export, gt_1=FIRST, gt_2="")
    assert {each.source: each.documents for each in lab.collect()} == {"issues": 2, "claude_code": 1}
    assert set(stored(lab, "claude_code")) == {FIRST}
    session(folder, FIRST, 2)  # it went on after it closed the item
    issues(export, gt_1=FIRST, gt_2="0a1b2c3d-0000-0000-0000-000000000000")
    lab.collect()
    [document] = stored(lab, "claude_code").values()
    assert len(document.messages) == 4
    assert sum(each.new for each in lab.collect()) == 0


def test_a_work_items_session_goes_to_the_source_that_has_it(lab: Realm, tmp_path: Path) -> None:
    session(tmp_path / "sessions" / "p", FIRST, 1)
    lab.collect(tmp_path / "sessions", name="mine")
    session(tmp_path / "sessions" / "p", FIRST, 2)
    found = lab.collect(issues(tmp_path / "issues.jsonl", gt_1=FIRST))
    assert {each.source: each.new for each in found} == {"issues": 1, "mine": 1}
    assert [one.name for one in lab.lab.ledger.sources.list()] == ["issues", "mine"]


# --- watching -----------------------------------------------------------------------------


@contextmanager
def watching(lab: Realm) -> Iterator[list[tuple[str, str]]]:
    """Watch a lab's sources; yields what it told of, and checks that it ends."""
    told: list[tuple[str, str]] = []
    ended = threading.Event()
    thread = live.start_watching_sources(
        lab.lab, ended.is_set, lambda name, error: told.append((name, error.what))
    )
    try:
        yield told
    finally:
        ended.set()
        thread.join(30)
    assert not thread.is_alive()


def until(reached: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_watched_sources_are_collected_as_they_change(lab: Realm, tmp_path: Path, soon: None) -> None:
    projects = tmp_path / "projects"
    config = {"kind": "claude_code", "name": "sessions", "path": str(projects)}
    with with_sources(lab, config) as realm:

        def length(name: str) -> int:
            found = stored(realm, "sessions").get(name)
            return len(found.messages) if found else 0

        with watching(realm) as told:
            until(lambda: bool(told))
            session(projects / "p", FIRST, 1)
            until(lambda: length(FIRST) == 2)
            session(projects / "p", FIRST, 2)
            session(projects / "p", SECOND, 1)
            until(lambda: (length(FIRST), length(SECOND)) == (4, 2))
        assert [name for name, _ in told] == ["sessions"]  # not there yet: told once
        kinds = [event.kind for _, _, event in realm.lab.ledger.events.list(kinds=["collection_added"])]
        assert len(kinds) >= 2


def test_what_is_added_meanwhile_is_watched_and_a_broken_source_told_of_once(
    lab: Realm, tmp_path: Path, soon: None
) -> None:
    broken = tmp_path / "broken"
    sources = {"kind": "chat_jsonl", "name": "broken", "path": str(broken)}
    with with_sources(lab, sources) as realm, watching(realm) as told:
        until(lambda: bool(told))
        with Realm(lab.home.root) as other:
            other.collect(issues(tmp_path / "issues.jsonl", gt_1=""))
        session(tmp_path / "agent" / "projects" / "p", FIRST, 1)
        time.sleep(0.5)
        issues(tmp_path / "issues.jsonl", gt_1=FIRST)
        until(lambda: any(one.name == "claude_code" for one in realm.lab.ledger.sources.list()))
        until(lambda: set(stored(realm, "claude_code")) == {FIRST})
        assert [name for name, _ in told] == ["broken"]
        chats(broken / "a.jsonl", 3)
        until(lambda: len(stored(realm, "broken")) == 3)
        assert [name for name, _ in told] == ["broken"]


def test_a_lab_that_is_up_collects_beside_its_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLAUDE_CONFIG_DIR", str(tmp_path / "agent"))
    home = make_lab(tmp_path / "home", drills=False)
    projects = tmp_path / "projects"
    projects.mkdir()
    with Realm(home) as lab:
        with_sources(lab, {"kind": "claude_code", "name": "sessions", "path": str(projects)}).close()
    with lab_up(home) as process:
        wait_until(home, lambda lab: lab.status().holder is not None)
        session(projects / "p", FIRST, 1)
        wait_until(home, lambda lab: any(one.collected_at for one in lab.status().sources))
        with Realm(home) as lab:
            assert lab.collect()[0].new == 0  # a second process finds nothing left to do
            assert set(stored(lab, "sessions")) == {FIRST}
        assert process.poll() is None
    assert process.returncode == 0
    assert "Traceback" not in (home / "up.log").read_text()


def test_watching_ends_within_a_collection_and_loses_nothing(
    lab: Realm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads = threading.Event()
    folder = tmp_path / "many"
    for number in range(30):
        chats(folder / f"{number}.jsonl", 20)
    with with_sources(lab, {"kind": "chat_jsonl", "name": "many", "path": str(folder)}) as realm:
        ended = threading.Event()

        def stop() -> bool:
            if reads.is_set():
                ended.set()
            return ended.is_set()

        check = live._Watcher._check_end
        monkeypatch.setattr(
            live._Watcher,
            "_check_end",
            lambda self, progress: (progress.items > 3 and reads.set(), check(self, progress)),
        )
        thread = live.start_watching_sources(realm.lab, stop, lambda name, error: None)
        thread.join(30)
        assert not thread.is_alive()
        monkeypatch.undo()
        assert len(stored(realm, "many")) < 600
        assert realm.collect()[0].items == 30
        assert len(stored(realm, "many")) == 600
        for record in realm.lab.ledger.sources.collections("many"):
            assert list(read_documents(realm.lab.store.verified(ArtifactKind.COLLECTION, record.hash)))
