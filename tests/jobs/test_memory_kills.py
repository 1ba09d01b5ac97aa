from __future__ import annotations

import signal
from pathlib import Path

import pytest

from realm.jobs.memory import kernel_kills, killed_for_memory


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
