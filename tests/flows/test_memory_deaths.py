"""A child that ended because memory ran out is told as that, and no other is."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from pydantic import BaseModel

from realm import Realm
from realm.core.errors import ChildDiedError, ConfigError, OutOfMemoryError
from realm.flows import children
from realm.flows.children import Supervisor
from realm.jobs.children import WarmLauncher
from tiny_lab import make_lab

ENTRY = "flows.flows_child_entries:end"


class End(BaseModel):
    code: int
    said: str = "a usual line"
    error: str = ""
    events: str = ""


@pytest.fixture
def supervisor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Supervisor]:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent.parent))
    launcher = WarmLauncher(("json",))
    with Realm(make_lab(tmp_path / "home", drills=False)) as realm:
        yield Supervisor(realm.lab, launcher)
    launcher.close()


@pytest.fixture
def kills(monkeypatch: pytest.MonkeyPatch) -> list[int | None]:
    """Counts of the kernel's kills, as the supervisor reads them one after another."""
    counts: list[int | None] = []
    monkeypatch.setattr(children, "kernel_kills", partial(counts.pop, 0))
    return counts


def ended(supervisor: Supervisor, spec: End) -> None:
    asyncio.run(supervisor.follow(ENTRY, spec, "run-0001", on_event=lambda event: None))


def test_a_kill_that_the_kernel_counted_is_want_of_memory(
    supervisor: Supervisor, kills: list[int | None]
) -> None:
    kills += [7, 8]
    with pytest.raises(OutOfMemoryError, match="run-0001 was killed by the system because memory") as caught:
        ended(supervisor, End(code=-signal.SIGKILL))
    assert "realm estimate" in caught.value.hint
    for counts in ([7, 7], [None, None]):
        kills += counts
        with pytest.raises(ChildDiedError, match="was killed by signal 9"):
            ended(supervisor, End(code=-signal.SIGKILL))


@pytest.mark.parametrize(
    "said",
    [
        "memory allocation of 67108864 bytes failed",
        "terminate called after throwing an instance of 'std::bad_alloc'\n  what():  std::bad_alloc",
        "what(): DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes.\n"
        + "frame\n" * 60,
    ],
)
def test_an_abort_over_an_allocation_is_want_of_memory(supervisor: Supervisor, said: str) -> None:
    with pytest.raises(OutOfMemoryError, match="run-0001 ended because memory ran out"):
        ended(supervisor, End(code=-signal.SIGABRT, said=said))
    # The lines of one attempt say nothing of the next one's end.
    with pytest.raises(ChildDiedError, match="was killed by signal 6: a usual line"):
        ended(supervisor, End(code=-signal.SIGABRT))


def test_a_rank_that_ended_over_an_allocation_is_want_of_memory(supervisor: Supervisor) -> None:
    events = str(supervisor.lab.home.events("run-0001"))
    said = "memory allocation of 67108864 bytes failed\nthe other ranks miss it"
    with pytest.raises(OutOfMemoryError, match="run-0001 ended because memory ran out"):
        ended(supervisor, End(code=1, said=said, error="ChildDiedError", events=events))
    # What was raised on purpose counts first.
    with pytest.raises(ConfigError, match="in the child's words"):
        ended(supervisor, End(code=1, said=said, error="ConfigError", events=events))
    with pytest.raises(ChildDiedError, match="in the child's words"):
        ended(supervisor, End(code=1, error="ChildDiedError", events=events))
