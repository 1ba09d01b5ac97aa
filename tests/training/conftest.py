from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from realm.jobs.children import WarmLauncher
from training.tiny_ranks import Runs, zygote


@pytest.fixture(scope="module")
def warm() -> Iterator[WarmLauncher]:
    with zygote() as launcher:
        yield launcher


@pytest.fixture
def runs(tmp_path: Path, warm: WarmLauncher) -> Runs:
    return Runs(tmp_path, warm)
