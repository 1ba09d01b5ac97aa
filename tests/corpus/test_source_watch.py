from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from realm.corpus.files import watch as watching
from realm.corpus.files.watch import watch
from realm.corpus.source import SOURCES, Source

LONG_S = 60.0


class Watcher:
    """Collect the names of the sources that were yielded, in a thread."""

    def __init__(self, *sources: Source, rest_s: float = 0.0, look_s: float = LONG_S) -> None:
        self.told: list[str] = []
        self._stopped = threading.Event()
        self._sources, self._rest_s, self._look_s = sources, rest_s, look_s
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        found = watch(self._sources, self._stopped.is_set, rest_s=self._rest_s, look_s=self._look_s)
        for source in found:
            self.told.append(source.config.name)  # type: ignore[attr-defined]

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
        time.sleep(0.2)
        assert watcher.told == []
        late.mkdir(parents=True)
        (late / "0a1b2c3d-x.jsonl").write_text("{}\n")
        assert watcher.wait(1) == ["late"]


def test_without_word_from_the_system_sources_are_looked_at(
    folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, _ = folders
    monkeypatch.setattr(watching, "_changes", lambda places: (_ for _ in ()))
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
    with Watcher(made, look_s=0.5) as watcher:
        (tmp_path / "CLAUDE.md").write_text("be short\n")
        assert watcher.wait(1) == ["docs"]
