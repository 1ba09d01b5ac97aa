"""What modules of this folder may share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from realm.flows import worker
from realm.flows.children import PRELOAD
from realm.jobs.children import Child
from tiny_lab import launcher


class Lent:
    """The one launcher of this process, as its borrower has it: closing it ends the borrower's children."""

    def __init__(self, preload: Sequence[str]) -> None:
        assert tuple(preload) == PRELOAD
        self._children: list[Child] = []

    def start(self) -> None:
        launcher().start()

    def launch(self, entry: str, spec: Path, log: Path) -> Child:
        child = launcher().launch(entry, spec, log)
        self._children.append(child)
        return child

    def close(self) -> None:
        for child in self._children:
            child.kill()


@pytest.fixture(scope="module")
def one_launcher() -> Iterator[None]:
    """Have every lab that this process works on in a module take the same warm launcher.

    Another one imports torch anew, for five seconds of a core. Commands in other processes start theirs.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(worker, "WarmLauncher", Lent)
        yield
