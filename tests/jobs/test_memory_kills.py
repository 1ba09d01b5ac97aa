from __future__ import annotations

import signal
from pathlib import Path

import pytest

from realm.jobs.memory import kernel_kills, killed_for_memory, starved


def test_the_kernels_count_is_read(tmp_path: Path) -> None:
    counters = tmp_path / "vmstat"
    counters.write_text("pgfault 12\noom_kill 7\nnr_unstable 0\n")
    assert kernel_kills(counters) == 7
    counters.write_text("pgfault 12\n")
    assert kernel_kills(counters) is None
    assert kernel_kills(tmp_path / "absent") is None


@pytest.mark.parametrize(
    ("code", "before", "after", "killed"),
    [
        (-signal.SIGKILL, 7, 8, True),
        (-signal.SIGKILL, 7, 7, False),
        (-signal.SIGTERM, 7, 8, False),
        (1, 7, 8, False),
        (-signal.SIGKILL, None, None, False),
    ],
)
def test_only_a_kill_that_the_kernel_counted_is_for_memory(
    code: int, before: int | None, after: int | None, killed: bool
) -> None:
    assert killed_for_memory(code, before, after) is killed


@pytest.mark.parametrize(
    ("code", "said", "found"),
    [
        (-signal.SIGABRT, "memory allocation of 4096 bytes failed", True),
        (-signal.SIGABRT, "  what():  std::bad_alloc\nAborted", True),
        (1, "libgomp: Out of memory allocating 4096 bytes", True),
        (1, "OpenBLAS error: Memory allocation still failed after 10 retries, giving up.", True),
        (1, "OSError: [Errno 12] Cannot allocate memory", True),
        (1, "Traceback (most recent call last):\nMemoryError", True),
        # Aborts for other reasons, a broken heap among them.
        (-signal.SIGABRT, "malloc(): corrupted top size", False),
        (-signal.SIGABRT, "double free or corruption (out)", False),
        (1, "ValueError: no such luck", False),
        # Ends that somebody else brought about, or nobody.
        (-signal.SIGKILL, "std::bad_alloc", False),
        (-signal.SIGSEGV, "std::bad_alloc", False),
        (0, "std::bad_alloc", False),
    ],
)
def test_an_end_over_an_allocation_is_known_by_what_was_said(code: int, said: str, found: bool) -> None:
    assert starved(code, said) is found
