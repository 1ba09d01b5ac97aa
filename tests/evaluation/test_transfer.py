from __future__ import annotations

import pytest

from realm.evaluation.comparison import Pair
from realm.evaluation.statistics import newcombe
from realm.evaluation.transfer import Group, GroupKind, transfer


def group(
    name: str, lost: int, won: int, *, trained: bool = True, kind: GroupKind = "skill", total: int = 100
) -> Group:
    outcomes = [(1, 0)] * lost + [(0, 1)] * won + [(1, 1)] * (total - lost - won)
    pairs = tuple(Pair(part="p", primitive="x", before=a, after=b) for a, b in outcomes)
    return Group(kind=kind, name=name, trained=trained, pairs=pairs)


def test_differences_have_newcombes_interval_and_a_label() -> None:
    report = transfer([group("bin", 2, 20)])
    [row] = report.rows
    assert row.difference.difference == pytest.approx(0.18)
    assert (row.difference.low, row.difference.high) == newcombe(78, 2, 20, 0)
    # Twice (C(22,0) + C(22,1) + C(22,2)) / 2^22
    assert row.chance == 2 * 254 / 2**22
    assert row.label == "gained"


def test_labels_are_corrected_for_all_rows() -> None:
    alone = transfer([group("a", 0, 6)])  # two-sided 1/32
    assert alone.rows[0].label == "gained"
    among = transfer([group("a", 0, 6), group("b", 0, 0)])
    assert [row.label for row in among.rows] == ["no difference shown"] * 2
    assert among.rows[0].chance == 2 / 32


def test_transfer_and_forgetting_are_told_apart() -> None:
    report = transfer(
        [
            group("logic", 0, 15, trained=False, kind="benchmark"),
            group("bin", 0, 30),
            group("memory", 20, 1, trained=False, kind="primitive"),
            group("counting", 3, 3, trained=False),
        ]
    )
    assert [row.difference.name for row in report.rows] == ["bin", "logic", "memory", "counting"]
    assert [row.difference.name for row in report.transferred()] == ["logic"]
    assert [row.difference.name for row in report.forgotten()] == ["memory"]


def test_scores_are_bootstrapped() -> None:
    pairs = tuple(Pair(part="p", primitive="x", before=0.4, after=0.4 + 0.01 * (i % 5)) for i in range(60))
    [row] = transfer([Group(kind="benchmark", name="essays", trained=False, pairs=pairs)]).rows
    assert row.difference.test == "sign flip"
    assert row.difference.low < 0.02 < row.difference.high
    assert row.difference.high - row.difference.low < 0.01
    assert row.label == "gained"


def test_a_group_without_problems_is_no_row() -> None:
    with pytest.raises(ValueError, match="no problems to compare in none"):
        transfer([group("none", 0, 0, total=0)])
    assert transfer([]).rows == ()
