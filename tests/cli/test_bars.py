"""Progress: a rate and a time left that follow from what was done, on standard error alone."""

from __future__ import annotations

import pytest

from realm.cli import bars


def test_lines_come_now_and_then_with_rate_and_time_left(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = [0.0]
    monkeypatch.setattr(bars.time, "monotonic", lambda: now[0])
    with bars.bar("bytes") as tell:
        for second in range(26):
            now[0] = float(second)
            tell("flecs", second * 2_000_000, 3_800_000_000, f"{second} documents")
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "flecs  10 documents  20.0 MB of 3,800.0 MB  2.0 MB/s  0:31:30 left",
        "flecs  20 documents  40.0 MB of 3,800.0 MB  2.0 MB/s  0:31:20 left",
    ]


def test_another_stretch_has_a_rate_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(bars.time, "monotonic", lambda: now[0])
    stretch = bars._Stretch("rows")
    assert stretch.told("rows", 100, 1000) == "100 of 1,000 rows"
    now[0] = 2.0
    assert stretch.told("rows", 300, 1000) == "300 of 1,000 rows  100 rows/s  0:00:07 left"
    assert stretch.told("writing", 0, 50) == "0 of 50 rows"
    assert stretch.told("writing", 0, 0) == ""
