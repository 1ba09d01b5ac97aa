from __future__ import annotations

import pytest
from pydantic import ValidationError

from realm.core.errors import NotFoundError
from realm.evaluation.ranking import (
    Answered,
    Measured,
    Ranking,
    RegressionConfig,
    Way,
    Where,
    common_ground,
    rank,
)

WAY = Way.of({"backend": "transformers 5", "template": "t", "sampling": "greedy", "device": "cpu"})


def measured(
    name: str, right: int, *, step: int = 0, part: str = "p", way: Way = WAY, total: int = 100
) -> Measured:
    answers = tuple(Answered(key=f"problem {i}", primitive="x", score=float(i < right)) for i in range(total))
    return Measured(
        checkpoint=f"hash of {name}", name=name, hero_step=step, part=part, way=way, answers=answers
    )


def ranked(*found: Measured, current: str = "now") -> Ranking:
    return rank(found, f"hash of {current}")


def test_the_best_comes_first_and_of_equals_the_older_in_training() -> None:
    found = ranked(measured("a", 80, step=1), measured("b", 90), measured("now", 80, step=2))
    assert [standing.name for standing in found.ranked] == ["b", "now", "a"]
    assert found.ranked[0].drop == 0
    assert found.ranked[1].drop == pytest.approx(0.1)
    assert (found.problems, found.parts) == (100, ("p",))
    assert (found.ranked[1].right.correct, found.ranked[1].right.total) == (80, 100)


def test_small_drops_are_flagged_but_call_for_nothing() -> None:
    found = ranked(measured("best", 95), measured("now", 85))
    now = found.ranked[1]
    assert now.chance == 2**-10
    assert now.significant
    assert now.alarm == "ok"
    assert found.rollback is None


@pytest.mark.parametrize(("right", "alarm"), [(76, "ok"), (75, "warning"), (61, "warning"), (60, "critical")])
def test_alarms_by_size(right: int, alarm: str) -> None:
    found = ranked(measured("best", 90), measured("now", right))
    assert found.ranked[1].alarm == alarm
    assert (found.rollback is None) == (alarm == "ok")
    if found.rollback:
        assert found.rollback.name == "best"
        assert alarm in found.rollback.reasons[0]


def test_a_large_drop_on_few_problems_is_luck() -> None:
    found = ranked(measured("best", 5, total=5), measured("now", 3, total=5))
    assert found.ranked[1].drop == pytest.approx(0.4)
    assert not found.ranked[1].significant
    assert found.rollback is None


def test_the_best_of_many_is_held_against_all_of_them() -> None:
    few = ranked(measured("best", 100), measured("now", 94))
    many = ranked(measured("best", 100), *[measured(f"c{i}", 94) for i in range(9)], measured("now", 94))
    assert few.ranked[1].chance == 2**-6
    assert {s.chance for s in many.ranked[1:]} == {10 * 2**-6}
    assert few.ranked[1].significant
    assert not many.ranked[1].significant


def test_only_the_same_part_and_way_are_compared() -> None:
    other = Way.of({**WAY.model_dump(), "backend": "vllm 1"})
    found = ranked(
        measured("now", 50),
        measured("elsewhere", 100, way=other),
        measured("unasked", 100, part="q"),
        measured("others", 100, total=99),
        measured("peer", 51),
    )
    assert [s.name for s in found.ranked] == ["peer", "now"]
    reasons = {left.name: left.reason for left in found.left_out}
    assert "another backend" in reasons["elsewhere"]
    assert "nobody asked" in reasons["unasked"]
    assert "other problems" in reasons["others"]
    assert found.rollback is None


def test_the_current_checkpoint_says_which_parts_count() -> None:
    found = ranked(
        measured("now", 40),
        measured("now", 90, part="q"),
        measured("best", 90),
        measured("best", 90, part="q"),
        measured("best", 1, part="r"),
        measured("half", 100),
    )
    assert [s.name for s in found.ranked] == ["best", "now"]
    now = found.ranked[1]
    assert now.drop == pytest.approx(0.25)
    assert now.fallen == ("p",)
    assert now.alarm == "critical"  # by 0.5 in one part
    assert found.rollback is not None
    assert found.rollback.reasons[1] == "p fell"


def test_the_common_ground_is_where_most_answers_can_be_compared() -> None:
    def asked(*parts: str) -> dict[Where, int]:
        return {Where(part, WAY): 10 for part in parts}

    everyone = {"now": asked("a", "b", "c"), "x": asked("a", "z"), "y": asked("a", "b"), "w": asked("a", "b")}
    found = common_ground(everyone, "now")
    assert {where.part for where in found} == {"a", "b"}  # two with 20 problems against three with 10
    alone = {"now": asked("a", "b"), "x": {Where("a", Way.of({"backend": "vllm"})): 10}}
    assert common_ground(alone, "now") == alone["now"].keys()


def test_a_checkpoint_nobody_asked_cannot_be_ranked() -> None:
    with pytest.raises(NotFoundError):
        ranked(measured("other", 1))


def test_a_way_is_read_from_a_context() -> None:
    assert (WAY.backend, WAY.dtype, WAY.profile) == ("transformers", "unknown", "none")
    assert Way.of({"backend": "vllm 1"}) == Way.of({"backend": "vllm 2"})
    assert Way.of({"seed": 3}).seed == "3"
    with pytest.raises(ValidationError):
        RegressionConfig.model_validate({"warning": 0})
    with pytest.raises(ValidationError, match=r"critical \(0\.1\) is below warning \(0\.15\)"):
        RegressionConfig.model_validate({"critical": 0.1})
