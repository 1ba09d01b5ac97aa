from __future__ import annotations

import json
import multiprocessing
import random
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from realm.core.errors import CorruptError, NotFoundError, StateError, StorageError, UnsafeFileError
from realm.core.records import ArtifactKind, ArtifactRef
from realm.core.seeds import rng
from realm.storage import durable
from realm.storage.manifest import MANIFEST_NAME, SIDECAR_NAME
from realm.storage.store import Store

KIND = ArtifactKind.CHECKPOINT
FILES = {"model.safetensors": b"weights" * 40, "config.json": b'{"a": 1}', "tokenizer/vocab.json": b"[1, 2]"}


def fill(stage: Path, files: dict[str, bytes] = FILES) -> Path:
    for name, data in files.items():
        (stage / name).parent.mkdir(exist_ok=True)
        (stage / name).write_bytes(data)
    return stage


def publish(store: Store, files: dict[str, bytes] = FILES, **sidecar: object) -> ArtifactRef:
    return store.publish(fill(store.stage(KIND), files), KIND, lambda ref: ref, sidecar=sidecar or None)


def everything(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "vault")


def test_published_bytes_come_back_verified(store: Store) -> None:
    ref = publish(store, step=7)
    folder = store.verified(KIND, ref.hash)
    assert folder == store.vault / "checkpoints" / ref.hash.removeprefix("sha256:")
    content = everything(folder)
    assert {name: content[name] for name in FILES} == FILES
    assert json.loads(content[SIDECAR_NAME]) == {"step": 7}
    assert set(content) == {*FILES, SIDECAR_NAME, MANIFEST_NAME}
    assert ref.size_bytes == sum(map(len, FILES.values()))
    assert store.hashes(KIND) == [ref.hash]
    assert store.hashes(ArtifactKind.DATASET) == []


def test_the_ledger_write_sees_complete_bytes(store: Store) -> None:
    def commit(ref: ArtifactRef) -> str:
        return str(store.verified(ref.kind, ref.hash))

    assert Path(store.publish(fill(store.stage(KIND)), KIND, commit)).is_dir()


def test_the_same_bytes_twice_are_one_artifact_and_two_commits(store: Store) -> None:
    commits: list[ArtifactRef] = []
    for number in range(2):
        store.publish(fill(store.stage(KIND)), KIND, commits.append, sidecar={"number": number})
    assert commits[0] == commits[1]
    assert store.hashes(KIND) == [commits[0].hash]
    assert json.loads((store.path(KIND, commits[0].hash) / SIDECAR_NAME).read_bytes()) == {"number": 0}
    assert store.reconcile(lambda kind, content: True).clean


def test_a_corrupt_artifact_is_replaced_by_sound_bytes_and_kept_in_quarantine(store: Store) -> None:
    ref = publish(store)
    (store.path(KIND, ref.hash) / "config.json").write_bytes(b"rotten")
    assert publish(store) == ref
    store.verified(KIND, ref.hash)
    rotten = list(store.vault.glob("quarantine/*/content/*/config.json"))
    assert [path.read_bytes() for path in rotten] == [b"rotten"]


def test_a_refused_commit_leaves_bytes_that_reconcile_quarantines(store: Store) -> None:
    def refuse(ref: ArtifactRef) -> None:
        raise StateError("no")

    with pytest.raises(StateError):
        store.publish(fill(store.stage(KIND)), KIND, refuse)
    found = store.reconcile(lambda kind, content: False)
    assert len(found.quarantined) == 1
    assert "does not know" in json.loads((found.quarantined[0] / "reason.json").read_bytes())["reason"]
    assert store.hashes(KIND) == []
    assert store.reconcile(lambda kind, content: False).clean


def test_a_bad_stage_is_refused_and_nothing_becomes_visible(store: Store) -> None:
    stage = fill(store.stage(KIND))
    (stage / "link").symlink_to("/etc/passwd")
    with pytest.raises(UnsafeFileError):
        store.publish(stage, KIND, lambda ref: ref)
    with pytest.raises(NotFoundError, match="no such stage"):
        store.publish(stage.with_name("other"), KIND, lambda ref: ref)
    assert store.hashes(KIND) == []


def test_a_failed_attempt_may_be_published_again(store: Store) -> None:
    stage = fill(store.stage(KIND))
    (stage / MANIFEST_NAME).write_bytes(b"half")
    (stage / SIDECAR_NAME).write_bytes(b"half")
    ref = store.publish(stage, KIND, lambda ref: ref)
    assert SIDECAR_NAME not in everything(store.verified(KIND, ref.hash))


def test_a_discarded_stage_leaves_nothing(store: Store) -> None:
    stage = fill(store.stage(KIND))
    for _ in range(2):
        store.discard(stage)
    assert not stage.exists()
    assert store.reconcile(lambda kind, content: True).clean


def test_after_a_failed_flush_the_stage_is_gone(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    stage = fill(store.stage(KIND))

    def fail(descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(durable.os, "fsync", fail)
    with pytest.raises(StorageError, match="not flushed"):
        store.publish(stage, KIND, lambda ref: ref)
    assert not stage.exists()


def test_what_is_absent_is_named_with_what_exists(store: Store) -> None:
    ref = publish(store)
    absent = "sha256:" + "0" * 64
    with pytest.raises(NotFoundError) as caught:
        store.path(KIND, absent)
    assert ref.hash in caught.value.hint
    with pytest.raises(NotFoundError):
        store.path(KIND, "../../etc")
    assert store.missing([(KIND, ref.hash), (KIND, absent)]) == [(KIND, absent)]


def test_another_kind_under_the_same_hash_is_corrupt(store: Store) -> None:
    ref = publish(store)
    shutil.copytree(store.path(KIND, ref.hash), store.vault / "datasets" / ref.hash.removeprefix("sha256:"))
    with pytest.raises(CorruptError):
        store.verified(ArtifactKind.DATASET, ref.hash)


# --- corruption ---------------------------------------------------------------------------


def flip(folder: Path, names: list[str], random: random.Random) -> None:
    path = folder / random.choice(names)
    data = bytearray(path.read_bytes())
    data[random.randrange(len(data))] ^= 1 << random.randrange(8)
    path.write_bytes(bytes(data))


def truncate(folder: Path, names: list[str], random: random.Random) -> None:
    path = folder / random.choice(names)
    path.write_bytes(path.read_bytes()[: random.randrange(path.stat().st_size)])


def extend(folder: Path, names: list[str], random: random.Random) -> None:
    with (folder / random.choice(names)).open("ab") as file:
        file.write(random.choice([b"\0", b" ", b"\n", b"x"]))


def swap(folder: Path, names: list[str], random: random.Random) -> None:
    a, b = (folder / name for name in random.sample(names, 2))
    first, second = a.read_bytes(), b.read_bytes()
    a.write_bytes(second)
    b.write_bytes(first)


def add(folder: Path, names: list[str], random: random.Random) -> None:
    name = random.choice(["extra.json", "tokenizer/extra", ".hidden", "a b", "new/file", "manifest.json.bak"])
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_bytes(b"" if random.random() < 0.5 else b"extra")


def lose(folder: Path, names: list[str], random: random.Random) -> None:
    (folder / random.choice(names)).unlink()


def link(folder: Path, names: list[str], random: random.Random) -> None:
    path = folder / random.choice(names)
    copy = folder.parent.parent / "elsewhere"
    copy.write_bytes(path.read_bytes())
    path.unlink()
    path.symlink_to(copy)


CORRUPTIONS: list[Callable[[Path, list[str], random.Random], None]] = [
    flip,
    flip,
    flip,
    truncate,
    extend,
    swap,
    add,
]
CORRUPTIONS += [lose, link]


def test_a_thousand_corruptions_are_refused(store: Store) -> None:
    ref = publish(store, step=7)
    folder = store.path(KIND, ref.hash)
    sound = everything(folder)
    for index in range(1200):
        draw = rng("test/corruption", index)
        corrupt = draw.choice(CORRUPTIONS)
        corrupt(folder, sorted(sound), draw)
        with pytest.raises(CorruptError) as caught:
            store.verified(KIND, ref.hash)
        assert str(folder) in caught.value.what, (index, corrupt)
        assert caught.value.hint
        shutil.rmtree(folder)
        folder.mkdir()
        fill(folder, sound)
        store.verified(KIND, ref.hash)


def test_the_corrupt_file_is_named(store: Store) -> None:
    ref = publish(store)
    (store.path(KIND, ref.hash) / "tokenizer" / "vocab.json").write_bytes(b"[1, 3]")
    with pytest.raises(CorruptError, match=r"tokenizer/vocab\.json: its bytes do not match"):
        store.verified(KIND, ref.hash)


def test_quarantine_keeps_files_and_folders_with_their_reason(store: Store, tmp_path: Path) -> None:
    for _ in range(2):
        file = tmp_path / "bad name\n.jsonl"
        file.write_bytes(b"x")
        folder = store.quarantine(file, "line 3: not JSON")
        assert not file.exists()
        assert (folder / "content" / file.name).read_bytes() == b"x"
        facts = json.loads((folder / "reason.json").read_bytes())
        assert facts["reason"] == "line 3: not JSON"
        assert facts["from"] == str(file)
    assert len(list((store.vault / "quarantine").iterdir())) == 2


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="needs a second filesystem")
@pytest.mark.parametrize("is_folder", [False, True])
def test_quarantine_takes_from_another_filesystem(store: Store, tmp_path: Path, is_folder: bool) -> None:
    with tempfile.TemporaryDirectory(dir="/dev/shm") as other:
        if Path(other).stat().st_dev == tmp_path.stat().st_dev:
            pytest.skip("/dev/shm is no other filesystem")
        source = Path(other) / "source"
        if is_folder:
            source.mkdir()
            fill(source)
        else:
            source.write_bytes(b"x")
        moved = store.quarantine(source, "why") / "content" / "source"
        assert not source.exists()
    if is_folder:
        assert everything(moved) == FILES
    else:
        assert moved.read_bytes() == b"x"


def test_delete_asks_first_and_reports_last(store: Store) -> None:
    ref = publish(store)
    calls: list[tuple[str, bool]] = []

    def note(name: str) -> Callable[[], None]:
        return lambda: calls.append((name, store.vault.joinpath("checkpoints", ref.hash[7:]).exists()))

    store.delete(KIND, ref.hash, note("tombstone"), note("done"))
    assert calls == [("tombstone", True), ("done", False)]
    assert list((store.vault / "trash").iterdir()) == []
    store.delete(KIND, ref.hash, note("again"), note("done"))  # an interrupted deletion is finished so
    assert [name for name, _ in calls] == ["tombstone", "done", "again", "done"]


def test_a_refused_deletion_changes_nothing(store: Store) -> None:
    ref = publish(store)

    def refuse() -> None:
        raise StateError("champion")

    with pytest.raises(StateError):
        store.delete(KIND, ref.hash, refuse, lambda: pytest.fail("done"))
    store.verified(KIND, ref.hash)


# --- reconcile ----------------------------------------------------------------------------


def test_reconcile_quarantines_strangers_and_deletes_only_unfinished_work(store: Store) -> None:
    known, unknown = publish(store, {"a": b"1"}), publish(store, {"a": b"2"})
    broken = publish(store, {"a": b"3"})
    (store.path(KIND, broken.hash) / MANIFEST_NAME).unlink()
    (store.vault / "checkpoints" / "notes.txt").write_text("mine")
    (store.vault / "datasets").mkdir()
    (store.vault / "datasets" / ("0" * 64)).mkdir()
    (store.vault / "trash" / "checkpoints-x").mkdir(parents=True)
    fill(store.vault / "trash" / "checkpoints-x")
    (store.vault / ".stage" / "run-0001-50").mkdir()

    def knows(kind: ArtifactKind, content: str) -> bool:
        return kind is KIND and content != unknown.hash

    found = store.reconcile(knows)
    assert len(found.quarantined) == 4
    assert found.trash_removed == ("checkpoints-x",)
    assert found.stages_removed == ("run-0001-50",)
    assert not found.clean
    assert store.hashes(KIND) == [known.hash]
    kept = {path.read_bytes() for path in store.vault.glob("quarantine/*/content/**/*") if path.is_file()}
    assert {b"2", b"3", b"mine"} <= kept
    assert store.reconcile(knows).clean


def test_reconcile_of_an_empty_home_is_clean(store: Store) -> None:
    assert store.reconcile(lambda kind, content: False).clean


STAGE_AND_WAIT = """
import sys
from pathlib import Path
from realm.core.records import ArtifactKind
from realm.storage.store import Store
store = Store(Path(sys.argv[1]))
stage = store.stage(ArtifactKind.DATASET)
(stage / "rows.jsonl").write_text("{}")
print(stage, flush=True)
sys.stdin.readline()
print(store.publish(stage, ArtifactKind.DATASET, lambda ref: ref.hash), flush=True)
"""


def test_stages_of_living_processes_are_left_alone(store: Store) -> None:
    argv = [sys.executable, "-c", STAGE_AND_WAIT, str(store.vault)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(argv, **pipes) as lives, subprocess.Popen(argv, **pipes) as dies:  # type: ignore[call-overload]
        stages = [Path(process.stdout.readline().strip()) for process in (lives, dies)]
        dies.kill()
        dies.wait()
        found = store.reconcile(lambda kind, content: True)
        assert found.stages_removed == (stages[1].name,)
        own = store.stage(KIND)
        assert store.reconcile(lambda kind, content: True).clean
        assert own.is_dir()
        published, _ = lives.communicate("\n")
        assert store.hashes(ArtifactKind.DATASET) == [published.strip()]


# --- several at once ----------------------------------------------------------------------


def publish_many(vault: Path, worker: int) -> None:
    store = Store(vault)
    for index in range(15):
        publish(store, {"a": f"{index}".encode(), "b": b"same"})
        publish(store, {"a": f"{worker} {index}".encode()})


def test_processes_publish_the_same_bytes_at_once(store: Store) -> None:
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=publish_many, args=(store.vault, number)) for number in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    hashes = store.hashes(KIND)
    assert len(hashes) == 15 + 3 * 15
    for content in hashes:
        store.verified(KIND, content)
    found = store.reconcile(lambda kind, content: True)
    assert (found.quarantined, found.stages_removed) == ((), ())


def test_reconcile_never_takes_what_is_about_to_be_committed(store: Store) -> None:
    committed: set[str] = set()
    begun, go_on = threading.Event(), threading.Event()

    def commit(ref: ArtifactRef) -> None:
        begun.set()
        go_on.wait(5)
        committed.add(ref.hash)

    publishing = threading.Thread(target=lambda: store.publish(fill(store.stage(KIND)), KIND, commit))
    publishing.start()
    begun.wait(5)
    threading.Timer(0.1, go_on.set).start()
    assert Store(store.vault).reconcile(lambda kind, content: content in committed).quarantined == ()
    publishing.join()
    assert store.hashes(KIND) == sorted(committed)


def test_what_is_damaged_is_written_down_first_and_then_moved_aside(store: Store) -> None:
    ref = publish(store)
    folder = store.described(KIND, ref.hash)
    (folder / "config.json").write_bytes(b"{}")
    assert store.described(KIND, ref.hash) == folder  # no file but the manifest is read
    there: list[bool] = []
    aside = store.set_aside(KIND, ref.hash, "config.json was changed", lambda: there.append(folder.exists()))
    assert there == [True]
    assert aside is not None
    assert (aside / "content" / folder.name / "config.json").read_bytes() == b"{}"
    assert json.loads((aside / "reason.json").read_bytes())["reason"] == "config.json was changed"
    assert store.set_aside(KIND, ref.hash, "it is missing", lambda: None) is None
    with pytest.raises(NotFoundError):
        store.described(KIND, ref.hash)
