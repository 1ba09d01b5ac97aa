from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from realm.corpus.files.inbox import Inbox

SETTLE_S = 0.1


def _settled(inbox: Inbox, settle_s: float = SETTLE_S) -> list[str]:
    inbox.ready()
    time.sleep(settle_s * 1.2)
    return [path.name for path in inbox.ready()]


def test_a_file_is_ready_once_it_stood_still(tmp_path: Path) -> None:
    inbox = Inbox(tmp_path, SETTLE_S)
    (tmp_path / "a.jsonl").write_text("x")
    assert inbox.ready() == []
    assert _settled(inbox) == ["a.jsonl"]
    assert inbox.ready() == [tmp_path / "a.jsonl"]
    (tmp_path / "a.jsonl").write_text("xy")
    assert inbox.ready() == []


def test_a_file_of_the_same_size_put_in_its_place_settles_anew(tmp_path: Path) -> None:
    inbox = Inbox(tmp_path, SETTLE_S)
    path = tmp_path / "a.jsonl"
    path.write_text("one")
    assert _settled(inbox) == ["a.jsonl"]
    before = path.stat()
    other = tmp_path / ".other"
    other.write_text("two")
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    other.rename(path)
    assert inbox.ready() == []


def test_oldest_first(tmp_path: Path) -> None:
    for age, name in enumerate(["c.jsonl", "a.jsonl", "b.jsonl"]):
        (tmp_path / name).write_text("x")
        os.utime(tmp_path / name, (1000 + age, 1000 + age))
    assert _settled(Inbox(tmp_path, SETTLE_S)) == ["c.jsonl", "a.jsonl", "b.jsonl"]


def test_what_is_no_complete_file_is_left_alone(tmp_path: Path) -> None:
    for name in [".hidden.jsonl", "a.jsonl.part", "a.jsonl.tmp", "a.jsonl~", "a.PARTIAL", "a.crdownload"]:
        (tmp_path / name).write_text("x")
    (tmp_path / "folder.jsonl").mkdir()
    os.mkfifo(tmp_path / "pipe.jsonl")
    (tmp_path / "link.jsonl").symlink_to(tmp_path / ".hidden.jsonl")
    (tmp_path / "dangling.jsonl").symlink_to(tmp_path / "nowhere")
    assert _settled(Inbox(tmp_path, SETTLE_S)) == []


def test_files_that_can_only_be_refused_are_ready_too(tmp_path: Path) -> None:
    names = ["a.zip", "b.csv", "c"]
    for name in names:
        (tmp_path / name).write_text("x")
    assert sorted(_settled(Inbox(tmp_path, SETTLE_S))) == names


def test_a_sidecar_belongs_to_its_file(tmp_path: Path) -> None:
    inbox = Inbox(tmp_path, SETTLE_S)
    (tmp_path / "a.jsonl").write_text("x")
    assert _settled(inbox) == ["a.jsonl"]
    (tmp_path / "a.jsonl.meta.json").write_text("{")
    assert inbox.ready() == []
    assert _settled(inbox) == ["a.jsonl"]


def test_an_absent_inbox_is_made(tmp_path: Path) -> None:
    assert Inbox(tmp_path / "deep" / "inbox", SETTLE_S).ready() == []
    assert (tmp_path / "deep" / "inbox").is_dir()


def test_a_file_held_open_by_a_slow_writer_is_not_ready(tmp_path: Path) -> None:
    pytest.importorskip("fcntl")
    inbox = Inbox(tmp_path, SETTLE_S)
    with (tmp_path / "a.jsonl").open("w") as file:
        file.write("half a li")
        file.flush()
        assert _settled(inbox) == []
        file.write("ne")
    assert _settled(inbox) == ["a.jsonl"]


def test_a_writer_that_comes_at_the_wrong_moment_does_no_harm(tmp_path: Path) -> None:
    inbox = Inbox(tmp_path, 0.0)
    path = tmp_path / "a.jsonl"
    path.write_text("")
    ended = threading.Event()

    def write() -> None:
        while not ended.is_set():
            with path.open("a") as file:
                file.write("x")

    thread = threading.Thread(target=write)
    thread.start()
    try:
        for _ in range(3000):
            inbox.ready()
    finally:
        ended.set()
        thread.join()
    assert [p.name for p in inbox.ready()] == ["a.jsonl"]


def _watch(inbox: Inbox, limit_s: float) -> Iterator[tuple[float, Path]]:
    start = time.monotonic()
    for path in inbox.watch(lambda: time.monotonic() - start > limit_s):
        yield time.monotonic() - start, path


def test_watching_yields_old_and_new_files_soon(tmp_path: Path) -> None:
    (tmp_path / "old.jsonl").write_text("x")
    inbox = Inbox(tmp_path, SETTLE_S)
    dropped: list[float] = []
    found: dict[str, float] = {}
    for at_s, path in _watch(inbox, 8.0):
        found[path.name] = at_s
        path.unlink()
        if path.name == "new.jsonl":
            break
        timer = threading.Timer(0.3, lambda: (tmp_path / "new.jsonl").write_text("x"))
        timer.start()
        dropped.append(at_s + 0.3)
    assert list(found) == ["old.jsonl", "new.jsonl"]
    assert found["new.jsonl"] - dropped[0] < 3.0


def test_watching_works_where_the_system_tells_of_no_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "watchfiles", None)
    timer = threading.Timer(0.3, lambda: (tmp_path / "a.jsonl").write_text("x"))
    timer.start()
    for _, path in _watch(Inbox(tmp_path, SETTLE_S), 8.0):
        assert path.name == "a.jsonl"
        return
    pytest.fail("the file was never seen")


def test_a_file_that_could_not_be_taken_is_offered_again_later(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text("x")
    times = [at_s for at_s, _ in _watch(Inbox(tmp_path, 0.05, retry_s=1.0), 4.0)]
    assert 2 <= len(times) <= 4
    assert times[1] - times[0] >= 1.0


def test_watching_survives_the_folder_going_away(tmp_path: Path) -> None:
    folder = tmp_path / "inbox"
    folder.mkdir()

    def replace() -> None:
        folder.rmdir()
        time.sleep(1.5)
        folder.mkdir(exist_ok=True)
        (folder / "a.jsonl").write_text("x")

    threading.Timer(0.3, replace).start()
    for _, path in _watch(Inbox(folder, SETTLE_S), 10.0):
        assert path.name == "a.jsonl"
        return
    pytest.fail("the file was never seen")


def test_watching_ends_when_asked(tmp_path: Path) -> None:
    start = time.monotonic()
    assert list(_watch(Inbox(tmp_path, SETTLE_S), 0.2)) == []
    assert time.monotonic() - start < 3.0
