from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from ledger_examples import Ticking

from realm.ledger.ledger import Ledger


@pytest.fixture(scope="session")
def empty_ledger(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("empty") / "ledger.db"
    Ledger.open(path).close()
    return path.read_bytes()


@pytest.fixture
def place(tmp_path: Path, empty_ledger: bytes) -> Path:
    path = tmp_path / "ledger.db"
    path.write_bytes(empty_ledger)
    return path


@pytest.fixture
def ledger(place: Path) -> Iterator[Ledger]:
    with Ledger.open(place, clock=Ticking()) as opened:
        yield opened
