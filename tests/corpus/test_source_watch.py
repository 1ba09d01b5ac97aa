from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from realm.corpus.files import watch as watching
from realm.corpus.files.watch import Watch
from realm.corpus.source import SOURCES, Source

LONG_S = 60.0


class Watcher:
    """Collect the names of the sources that were yielded, in a thread."""

    def __init__(
        self, *sources: Source, rest_s: float = 0.0, rare_s: float = LONG_S, fails: str = ""
    ) -> None:
        self.told: list[str] = []
        self.sources = list(sources)
        self._fails = fails
        self._stopped = threading.Event()
        self._rest_s = rest_s
        self._watch = Watch(lambda: self.sources, settle_s=0.1, look_s=LONG_S, rare_s=rare_s)
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        for source in self._watch.news(self._stopped.is_set):
            name = source.config.name  # type: ignore[attr-defined]
            self.told.append(name)
            if name == self._fails:
                self._watch.again(source, 0.2)
            else:
                self._watch.rest(source, self._rest_s)

    def __enter__(self) -> Watcher:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join(30)
        assert not self._thread.is_alive()

    def wait(self, count: int) -> list[str]:
        for _ in range(1000):
            if len(self.told) >= count:
                break
            time.sleep(0.02)
        return list(self.told)


def terminal(path: Path, name: str) -> Source:
    return SOURCES.build({"kind": "terminal", "name": name, "path": path})


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    return first, second


def test_a_source_is_told_of_when_it_has_something_new(folders: tuple[Path, Path]) -> None:
    first, second = folders
    (first / "a.log").write_text("$ ls\nx\n")
    with Watcher(terminal(first, "one"), terminal(second, "two")) as watcher:
        assert watcher.wait(1) == ["one"]
        time.sleep(0.3)
        (second / "b.log").write_text("$ ls\nx\n")
        assert watcher.wait(2) == ["one", "two"]
        with (first / "a.log").open("a") as file:
            file.write("$ pwd\n/\n")
        assert watcher.wait(3) == ["one", "two", "one"]
        (first / "ignored.bin").write_text("x")
        (first / "a.log").unlink()
        time.sleep(1.5)
        assert watcher.told == ["one", "two", "one"]


def test_a_folder_that_is_not_there_yet_is_waited_for(tmp_path: Path) -> None:
    late, there = tmp_path / "a" / "late", tmp_path / "there"
    there.mkdir()
    made = SOURCES.build({"kind": "claude_code", "name": "late", "path": late})
    with Watcher(made, terminal(there, "there")) as watcher:
        assert watcher.wait(1) == ["late"]  # whoever reads it learns that it is not there
        late.mkdir(parents=True)
        (late / "0a1b2c3d-x.jsonl").write_text("{}\n")
        assert watcher.wait(2) == ["late", "late"]


def test_without_word_from_the_system_sources_are_looked_at(
    folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, _ = folders
    monkeypatch.setattr(watching, "_changes", lambda places: (_ for _ in ()))
    monkeypatch.setattr(watching, "BLIND_S", 0.5)
    with Watcher(terminal(first, "one")) as watcher:
        time.sleep(0.2)
        (first / "a.log").write_text("$ ls\nx\n")
        assert watcher.wait(1) == ["one"]


def test_a_source_that_changes_all_the_time_is_let_rest(folders: tuple[Path, Path]) -> None:
    first, _ = folders
    (first / "a.log").write_text("$ ls\nx\n")
    with Watcher(terminal(first, "one"), rest_s=LONG_S) as watcher:
        watcher.wait(1)
        for number in range(5):
            (first / "a.log").write_text(f"$ ls\n{number}\n" * (number + 2))
            time.sleep(0.3)
        assert watcher.told == ["one"]


def test_a_source_without_folders_is_looked_at_from_time_to_time(tmp_path: Path) -> None:
    made = SOURCES.build({"kind": "documents", "name": "docs", "path": tmp_path})
    with Watcher(made, rare_s=0.5) as watcher:
        (tmp_path / "CLAUDE.md").write_text("be short\n")
        assert watcher.wait(1) == ["docs"]


def test_what_could_not_be_read_is_told_of_again(folders: tuple[Path, Path]) -> None:
    first, second = folders
    (first / "a.log").write_text("$ ls\nx\n")
    (second / "b.log").write_text("$ ls\nx\n")
    with Watcher(terminal(first, "one"), terminal(second, "two"), fails="one") as watcher:
        watcher.wait(5)
    assert sorted(set(watcher.told)) == ["one", "two"]
    assert watcher.told.count("two") == 1
    assert watcher.told.count("one") >= 4


def test_a_source_may_come_and_go(folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "REFRESH_S", 0.2)
    first, second = folders
    (second / "b.log").write_text("$ ls\nx\n")
    with Watcher(terminal(first, "one")) as watcher:
        time.sleep(0.3)
        watcher.sources = [terminal(second, "two")]
        assert watcher.wait(1) == ["two"]
        time.sleep(0.5)
        (first / "a.log").write_text("$ ls\nx\n")
        (second / "b.log").write_text("$ ls\nxx\n")
        assert watcher.wait(2) == ["two", "two"]


def test_a_town_and_an_export_say_where_to_listen(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    for name in (".events.jsonl", "logs/town.log"):
        (tmp_path / name).write_text("")
    town = SOURCES.build({"kind": "events", "name": "town", "path": tmp_path})
    assert town.folders() == (tmp_path / ".events.jsonl", tmp_path / "logs" / "town.log")  # type: ignore[attr-defined]
    beads = SOURCES.build({"kind": "beads", "name": "beads", "path": tmp_path})
    assert beads.folders() == (tmp_path / ".beads",)  # type: ignore[attr-defined]
    (tmp_path / ".beads" / "backup").mkdir(parents=True)
    (tmp_path / ".beads" / "backup" / "issues.jsonl").write_text("")
    assert beads.folders() == (tmp_path / ".beads" / "backup",)  # type: ignore[attr-defined]


def test_what_changes_just_before_listening_begins_is_not_missed(
    folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, _ = folders
    listen = watching._changes

    def changes(places: tuple[Path, ...]) -> Iterator[frozenset[str]]:
        (first / "a.log").write_text("$ ls\nx\n")
        yield from listen(places)

    monkeypatch.setattr(watching, "_changes", changes)
    with Watcher(terminal(first, "one")) as watcher:
        assert watcher.wait(1) == ["one"]
