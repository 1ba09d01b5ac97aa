"""Publish one checkpoint in a process that may be killed: what the system-call sweep runs.

    python save_once.py WARM_HOME [BUG]

Reads one request a line, `save HOME`, `delete HOME`, `check-save HOME` or
`check-delete HOME`, and runs each in a forked child of this
warm process, so that a kill costs no start-up; the child opens store and ledger anew. A child
stops itself before it begins, so that strace can be attached; its process id and then its exit
status go to stdout. BUG plants one of the mistakes that the sweep must be able to find.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from realm.core.errors import RealmError, StorageError
from realm.core.hashing import hash_bytes
from realm.core.records import ArtifactKind, ArtifactRef
from realm.ledger import database
from realm.ledger.ledger import Ledger
from realm.ledger.records import CheckpointRecord, DatasetRecord, NewCheckpoint
from realm.storage import durable, store
from realm.storage.store import Store

R = TypeVar("R")
FILES = {"model.safetensors": b"weights" * 2000, "config.json": b"{}", "tokenizer/vocab.json": b"[1]"}
ACKNOWLEDGED = "acknowledged"
"""Written once a save has returned: from then on it may not be lost."""
STORAGE_ERROR = 4
OTHER_ERROR = 1
_PR_SET_PTRACER = 0x59616D61


class RowFirstStore(Store):
    """The mistake of writing the ledger row before the bytes are in their place."""

    def publish(
        self,
        stage: Path,
        kind: ArtifactKind,
        commit: Callable[[ArtifactRef], R],
        *,
        sidecar: Mapping[str, Any] | None = None,
    ) -> R:
        manifest = self._seal(stage, kind, sidecar)
        result = commit(manifest.ref)
        self._place(stage, manifest)
        return result


STORES: dict[str, type[Store]] = {"row-first": RowFirstStore}


def plant(bug: str) -> None:
    """Plant a mistake into this process."""

    def nothing(path: Path) -> None:
        pass

    if bug == "no-file-fsync":
        store.fsync_file = nothing  # type: ignore[attr-defined]
    elif bug == "no-dir-fsync":
        store.fsync_dir = durable.fsync_dir = nothing  # type: ignore[attr-defined]
    elif bug == "no-commit-fsync":
        database._PRAGMAS = (*database._PRAGMAS, "synchronous=NORMAL")  # type: ignore[assignment]
    elif bug and bug not in STORES:
        raise ValueError(bug)


def prepare(home: Path) -> None:
    """Make a home that holds one dataset, published long ago."""
    vault = Store(home / "vault")
    (home / ".realm").mkdir(parents=True)
    with Ledger.open(home / ".realm" / "ledger.db") as ledger:

        def commit(ref: ArtifactRef) -> DatasetRecord:
            return ledger.datasets.add(
                DatasetRecord(
                    hash=ref.hash,
                    name="old",
                    spec="chat_sft_v1",
                    rows=1,
                    size_bytes=ref.size_bytes,
                    source="drill",
                    created_at=datetime(2026, 11, 1, tzinfo=UTC),
                )
            )

        stage = vault.stage(ArtifactKind.DATASET)
        (stage / "rows.jsonl").write_bytes(b"{}\n")
        vault.publish(stage, ArtifactKind.DATASET, commit)
    del vault
    for mark in (home / "vault" / ".stage").iterdir():
        mark.unlink()


def save(home: Path, bug: str = "") -> CheckpointRecord:
    """Publish the one checkpoint."""
    vault = STORES.get(bug, Store)(home / "vault")
    with Ledger.open(home / ".realm" / "ledger.db") as ledger:
        fence = ledger.fences.take("run/run-0001")
        stage = vault.stage(ArtifactKind.CHECKPOINT)
        for name, data in FILES.items():
            with durable.explained(stage):
                (stage / name).parent.mkdir(exist_ok=True)
                (stage / name).write_bytes(data)

        def commit(ref: ArtifactRef) -> CheckpointRecord:
            new = NewCheckpoint(
                campaign="first", hero="dio", hash=ref.hash, size_bytes=ref.size_bytes, step=5, hero_step=5
            )
            return ledger.checkpoints.add(new, fence)

        record = vault.publish(stage, ArtifactKind.CHECKPOINT, commit, sidecar={"hero_step": 5})
        durable.write_file(home / ACKNOWLEDGED, b"")
        return record


def delete(home: Path) -> None:
    """Delete the old dataset, or finish its deletion."""
    vault = Store(home / "vault")
    with Ledger.open(home / ".realm" / "ledger.db") as ledger:
        begun = [stone.hash for stone in ledger.tombstones.pending()]
        for content in begun + [record.hash for record in ledger.datasets.list()]:
            vault.delete(
                ArtifactKind.DATASET,
                content,
                lambda content=content: ledger.tombstones.begin_delete(ArtifactKind.DATASET, content),  # type: ignore[misc]
                lambda content=content: ledger.tombstones.finish_delete(ArtifactKind.DATASET, content),  # type: ignore[misc]
            )


def check_deleted(home: Path) -> None:
    """Raise unless the dataset is whole and known or its deletion can be finished."""
    vault = Store(home / "vault")
    with Ledger.open(home / ".realm" / "ledger.db") as ledger:
        for _ in range(2):
            for record in ledger.datasets.list():
                vault.verified(ArtifactKind.DATASET, record.hash)
            found = vault.reconcile(ledger.knows)
            assert found.quarantined == (), "a deletion that had begun ended in quarantine"
        assert found.clean, "the second reconciliation was no no-op"
    delete(home)
    with Ledger.open(home / ".realm" / "ledger.db") as ledger:
        assert (ledger.datasets.list(), ledger.tombstones.pending()) == ([], []), (
            "the deletion did not finish"
        )
        assert vault.hashes(ArtifactKind.DATASET) == [], "deleted bytes are visible"
        assert vault.reconcile(ledger.knows).clean, "the deletion left something behind"


def check(home: Path) -> None:
    """Raise AssertionError or a RealmError unless disk and ledger are as promised after a crash."""
    vault = Store(home / "vault")
    with Ledger.open(home / ".realm" / "ledger.db") as ledger:
        agree(vault, ledger, visible_without_row=1)
        vault.reconcile(ledger.knows)
        agree(vault, ledger, visible_without_row=0)
        assert vault.reconcile(ledger.knows).clean, "the second reconciliation was no no-op"
        if (home / ACKNOWLEDGED).exists():
            assert ledger.checkpoints.latest("first", "dio"), "an acknowledged checkpoint is lost"
            (home / ACKNOWLEDGED).unlink()
    record = save(home)
    assert record.sequence == 1, f"sequence {record.sequence}"
    with Ledger.open(home / ".realm" / "ledger.db") as ledger:
        agree(vault, ledger, visible_without_row=0)
        assert vault.hashes(ArtifactKind.CHECKPOINT) == [record.hash], "the checkpoint is not visible"
        assert ledger.checkpoints.latest("first", "dio") == record, "the checkpoint has no row"


def agree(vault: Store, ledger: Ledger, *, visible_without_row: int) -> None:
    """Check that each row has its bytes, that whatever is visible is whole, and what is old is there."""
    rows = {record.hash for record in ledger.checkpoints.list("first", "dio")}
    for content in rows:
        vault.verified(ArtifactKind.CHECKPOINT, content)
    visible = set(vault.hashes(ArtifactKind.CHECKPOINT))
    for content in visible:
        vault.verified(ArtifactKind.CHECKPOINT, content)
    assert len(visible - rows) <= visible_without_row, "bytes without a row are visible"
    (old,) = ledger.datasets.list()
    folder = vault.verified(ArtifactKind.DATASET, old.hash)
    assert hash_bytes((folder / "rows.jsonl").read_bytes()) == hash_bytes(b"{}\n"), "the old dataset changed"


def child(request: str, home: Path, bug: str) -> int:
    """Carry out one request and return the exit status."""
    os.kill(os.getpid(), signal.SIGSTOP)
    try:
        if request == "save":
            save(home, bug)
        else:
            {"delete": delete, "check-save": check, "check-delete": check_deleted}[request](home)
    except StorageError as error:
        (home / "told.txt").write_text(str(error))
        return STORAGE_ERROR if error.hint else OTHER_ERROR
    except (RealmError, AssertionError) as error:
        (home / "told.txt").write_text(f"{type(error).__name__}: {error}")
        return OTHER_ERROR
    return 0


def serve(bug: str) -> None:
    """Run requests until stdin ends."""
    for line in sys.stdin:
        request, _, home = line.strip().partition(" ")
        pid = os.fork()
        if pid == 0:
            ctypes.CDLL(None).prctl(_PR_SET_PTRACER, ctypes.c_ulong(-1))  # where only parents may trace
            status = OTHER_ERROR
            try:
                status = child(request, Path(home), bug)
            finally:
                os._exit(status)
        print(pid, flush=True)
        _, status = os.waitpid(pid, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    prepare(Path(sys.argv[1]) / "template")
    prepare(Path(sys.argv[1]) / "warm")
    delete(Path(sys.argv[1]) / "warm")  # loads what is loaded on first use
    save(Path(sys.argv[1]) / "warm")
    planted = sys.argv[2] if len(sys.argv) > 2 else ""
    plant(planted)
    serve(planted)
