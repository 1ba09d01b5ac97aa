from __future__ import annotations

import multiprocessing
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from ledger_examples import checkpoint, dataset, run, save, sha
from sqlalchemy import create_engine, text

from realm.core.errors import CorruptError, FencedError, NotFoundError, StateError, StorageError
from realm.core.records import ArtifactKind, Fence
from realm.ledger import schema
from realm.ledger.database import Database
from realm.ledger.ledger import Ledger
from realm.ledger.records import NewEvaluation, SkillRecord
from realm.ledger.tables import Base


def test_the_migrated_schema_is_the_one_of_the_tables(ledger: Ledger, place: Path) -> None:
    engine = create_engine(f"sqlite:///{place}")
    with engine.connect() as connection:
        options = {"compare_type": True, "compare_server_default": True}
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, Base.metadata) == []
        assert context.get_current_revision() == schema.HEAD
    engine.dispose()
    assert ScriptDirectory(str(schema.MIGRATIONS)).get_heads() == [schema.HEAD]


def test_connections_lose_nothing_in_a_power_cut(ledger: Ledger) -> None:
    with ledger._database.reading() as session:
        pragmas = {
            name: session.execute(text(f"PRAGMA {name}")).scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }
    assert pragmas == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 10000}


def test_opening_an_up_to_date_ledger_loads_no_alembic(ledger: Ledger, place: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from realm.ledger.ledger import Ledger\n"
        "Ledger.open(Path(sys.argv[1])).close(); print('alembic' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(place)], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"


def open_and_fence(place: Path) -> None:
    with Ledger.open(place) as ledger:
        ledger.fences.take("x")


def test_many_may_create_one_ledger_at_once(tmp_path: Path) -> None:
    place = tmp_path / "ledger.db"
    with ThreadPoolExecutor(8) as pool:
        for attempt in [pool.submit(open_and_fence, place) for _ in range(8)]:
            attempt.result()
    with Ledger.open(place) as ledger:
        assert ledger.fences.take("x").number == 9


def test_a_newer_schema_is_refused(place: Path) -> None:
    with sqlite3.connect(place) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    with pytest.raises(StateError, match="newer Realm"):
        Ledger.open(place)


def test_a_file_that_is_no_database_is_corrupt(tmp_path: Path) -> None:
    (tmp_path / "ledger.db").write_bytes(b"not a database" * 100)
    with pytest.raises(CorruptError, match=r"ledger\.db"):
        Ledger.open(tmp_path / "ledger.db")


def test_a_place_that_cannot_be_written_is_a_storage_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="unable to open"):
        Ledger.open(tmp_path / "absent" / "ledger.db")


def test_a_locked_ledger_is_a_storage_error(ledger: Ledger, place: Path) -> None:
    other = sqlite3.connect(place, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with ledger._database.engine.connect() as connection:  # the pool hands this connection out next
        connection.exec_driver_sql("PRAGMA busy_timeout=10")
    with pytest.raises(StorageError, match="locked"):
        ledger.fences.take("x")
    other.close()
    assert ledger.fences.take("x").number == 1


def test_a_failed_write_leaves_nothing(ledger: Ledger) -> None:
    ledger.datasets.add(dataset())
    with suppress(ZeroDivisionError), ledger._database.writing() as session:
        session.execute(text("DELETE FROM datasets"))
        1 / 0  # noqa: B018
    assert ledger.datasets.exists(sha("d"))


def test_urls_are_taken_too(place: Path) -> None:
    with Ledger.open(f"sqlite:///{place}") as ledger:
        assert ledger.fences.take("x").number == 1


def test_other_databases_are_reached_by_url() -> None:
    database = Database("postgresql+psycopg://somebody@nowhere.invalid/realm", lambda: pytest.fail("asked"))
    assert database.engine.dialect.name == "postgresql"
    database.close()


def test_knows_what_has_a_row(ledger: Ledger) -> None:
    ledger.datasets.add(dataset())
    save(ledger, "c")
    assert ledger.knows(ArtifactKind.DATASET, sha("d"))
    assert ledger.knows(ArtifactKind.CHECKPOINT, sha("c"))
    assert not ledger.knows(ArtifactKind.CHECKPOINT, sha("d"))
    assert not ledger.knows(ArtifactKind.EXPORT, sha("c"))


# --- fences -------------------------------------------------------------------------------


def test_fences_grow_and_stale_ones_are_refused(ledger: Ledger) -> None:
    first, second = ledger.fences.take("run/1"), ledger.fences.take("run/1")
    assert second.number == first.number + 1
    assert ledger.fences.take("run/2").number == 1
    ledger.fences.check(second)
    with pytest.raises(FencedError, match="run/1"):
        ledger.fences.check(first)
    with pytest.raises(FencedError):
        ledger.fences.check(Fence(name="never taken", number=1))


WRITES: dict[str, Callable[[Ledger, Fence], Any]] = {
    "update": lambda ledger, fence: ledger.runs.update("run-0001", fence=fence, step=5),
    "end": lambda ledger, fence: ledger.runs.end("run-0001", "done", "", fence),
    "reopen": lambda ledger, fence: ledger.runs.reopen("run-0001", fence),
    "checkpoint": lambda ledger, fence: ledger.checkpoints.add(checkpoint("new", 9), fence),
    "evaluation": lambda ledger, fence: ledger.evaluations.add(
        NewEvaluation(checkpoint=sha("c"), hero_step=0, suite="s", skill="bin", level=1), [], fence
    ),
    "register": lambda ledger, fence: ledger.models.register(
        "first", "dio", sha("c2"), scores={}, fence=fence
    ),
    "promote": lambda ledger, fence: ledger.models.promote(
        "dio-v1", expected_revision=0, decision={}, fence=fence
    ),
    "skill": lambda ledger, fence: ledger.skills.put(
        SkillRecord(campaign="first", skill="bin", state={}, updated_at=ledger._database.clock()), fence
    ),
}


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_every_write_of_a_stale_holder_is_refused_and_changes_nothing(
    ledger: Ledger, place: Path, write: Callable[[Ledger, Fence], Any]
) -> None:
    ledger.datasets.add(dataset())
    ledger.runs.add(run())
    save(ledger, "c")
    save(ledger, "c2", 1)
    ledger.models.register("first", "dio", sha("c"), scores={}, fence=None)
    stale, held = ledger.fences.take("run"), ledger.fences.take("run")
    before = dump(place)
    with pytest.raises(FencedError):
        write(ledger, stale)
    assert dump(place) == before
    write(ledger, held)


def dump(place: Path) -> list[str]:
    connection = sqlite3.connect(place)
    lines = list(connection.iterdump())
    connection.close()
    return lines


# --- several at once ----------------------------------------------------------------------


def save_many(place: Path, worker: int) -> None:
    with Ledger.open(place) as ledger:
        for step in range(20):
            save(ledger, f"{worker}/{step}", step)


def test_processes_number_their_checkpoints_without_gap_or_repeat(ledger: Ledger, place: Path) -> None:
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=save_many, args=(place, number)) for number in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0, 0]
    assert [record.sequence for record in ledger.checkpoints.list("first", "dio")] == list(range(1, 41))


def test_readers_go_on_while_somebody_writes(ledger: Ledger, place: Path) -> None:
    other = sqlite3.connect(place, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    begun = time.perf_counter()
    with pytest.raises(NotFoundError):
        ledger.runs.get("run-0001")
    assert time.perf_counter() - begun < 5
    other.close()
