"""A child that ended because memory ran out is told as that, and no other is."""

from __future__ import annotations

import asyncio
import resource
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
from realm.jobs.memory import allocation_limit
from realm.training.agent import cause
from tiny_lab import make_lab

ENTRY = "flows.flows_child_entries:end"
UNLIMITED = pytest.mark.skipif(allocation_limit() is not None, reason="memory is limited here")


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


@pytest.fixture
def memory_limit() -> Iterator[None]:
    """Limit what this process and its children may allocate, to more than anybody does."""
    before = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (5 * 10**12, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_DATA, before)


@UNLIMITED
@pytest.mark.usefixtures("memory_limit")
def test_a_crash_under_a_memory_limit_names_both_causes(supervisor: Supervisor) -> None:
    why = "killed by signal 11 under a memory limit of 5000.0 GB: for want of memory, or by a fault"
    with pytest.raises(ChildDiedError, match=why) as caught:
        ended(supervisor, End(code=-signal.SIGSEGV))
    assert caught.value.hint.startswith("raise the limit (ulimit -v and -d) or make packs smaller")
    assert "realm queue retry run-0001" in caught.value.hint
    told = cause("run-0001", 2, {}, {1: -signal.SIGSEGV})
    assert why in told.what
    assert "raise the limit" in told.hint
    with pytest.raises(ChildDiedError, match="was killed by signal 15: a usual line"):
        ended(supervisor, End(code=-signal.SIGTERM))


@UNLIMITED
def test_a_crash_without_a_limit_is_a_death(supervisor: Supervisor) -> None:
    with pytest.raises(ChildDiedError, match="was killed by signal 11: a usual line") as caught:
        ended(supervisor, End(code=-signal.SIGSEGV))
    assert caught.value.hint.startswith("see ")


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
