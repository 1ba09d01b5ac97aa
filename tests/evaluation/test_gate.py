from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from realm.evaluation.comparison import Pair
from realm.evaluation.gate import Check, Decision, GateConfig, Part, decide
from realm.evaluation.score import Comparable
from realm.skills.threshold import Threshold

EACH = 30
NAMES = tuple(f"primitive {i}" for i in range(30))


def part(right: dict[str, float], id: str = "p", **options: Any) -> Part:
    answered = {name: (points, EACH) for name, points in right.items()}
    whole = {"title": f"part {id}", "category": id, "asked": dict.fromkeys(right, EACH), **options}
    return Part(id=id, answered=answered, **whole)


def outcomes(name: str, lost: int = 0, won: int = 0, both: int = 25, id: str = "p") -> list[Pair]:
    scores = [(1, 0)] * lost + [(0, 1)] * won + [(1, 1)] * both
    scores += [(0, 0)] * (EACH - len(scores))
    return [Pair(part=id, primitive=name, before=a, after=b) for a, b in scores]


def right(pairs: list[Pair]) -> dict[str, float]:
    found: dict[str, float] = dict.fromkeys((pair.primitive for pair in pairs), 0)
    for pair in pairs:
        found[pair.primitive] += pair.after
    return found


def judged(pairs: list[Pair], config: GateConfig | None = None, **options: Any) -> Decision:
    return decide(config or GateConfig(), [part(right(pairs), **options)], pairs)


def check(decision: Decision, name: str) -> Check:
    [found] = [check for check in decision.checks if check.name == name]
    return found


def test_a_gain_beyond_luck_replaces_the_champion() -> None:
    pairs = [pair for name in NAMES[:3] for pair in outcomes(name, won=3, lost=1)]
    pairs += outcomes(NAMES[3], won=5)
    decision = judged(pairs)  # 14 won, 3 lost: 834 / 2^17 = 0.00636
    assert decision.passed
    assert "14 won" in check(decision, "champion").text
    assert check(decision, "champion").figures["p"] == 834 / 2**17
    assert (decision.correct, decision.total) == (114, 120)
    assert check(decision, "calibration").skipped


@pytest.mark.parametrize(("won", "lost"), [(0, 0), (4, 4), (5, 0), (10, 3)])
def test_luck_leaves_the_champion_where_it_is(won: int, lost: int) -> None:
    pairs = [*outcomes("a", won=won, lost=lost, both=17), *outcomes("b", both=30)]
    decision = judged(pairs, GateConfig(threshold=0.5))
    assert not decision.passed
    [reason] = decision.reasons
    assert "not shown to be better" in reason
    assert "problems to show" in reason
    assert judged(pairs, GateConfig(threshold=0.5, must_improve=False)).passed


def test_not_worse_is_enough_where_it_is_told_so() -> None:
    worse = [*outcomes("a", lost=9, won=1, both=20), *outcomes("b", both=30)]
    decision = judged(worse, GateConfig(threshold=0.5, must_improve=False))
    assert not decision.passed
    assert "worse than the champion" in check(decision, "champion").text


def test_one_broken_primitive_outweighs_any_gain() -> None:
    pairs = [pair for name in NAMES[:20] for pair in outcomes(name, won=3)]
    pairs += outcomes("broken", lost=13, both=16, id="p")
    decision = judged(pairs, GateConfig(threshold=0.5, primitive_floor=0.0))
    assert check(decision, "champion").passed
    assert not decision.passed
    [reason] = decision.reasons
    assert reason.startswith("primitive broken is worse")
    # Holm over 21 primitives: 21 / 2^13
    assert check(decision, "primitive/broken").figures["p"] == pytest.approx(21 / 2**13)
    forgiven = decide(
        GateConfig(threshold=0.5, primitive_floor=0.0), [part(right(pairs), mastered=False)], pairs
    )
    assert forgiven.passed  # no level that asks it is mastered


def test_a_category_that_fell_is_told() -> None:
    good = [pair for name in NAMES[:10] for pair in outcomes(name, won=4, id="good")]
    bad = [pair for name in NAMES[:6] for pair in outcomes(name, lost=2, id="bad")]
    config = GateConfig(threshold=0.5)
    parts = [part(right(good), "good"), part(right(bad), "bad")]
    decision = decide(config, parts, good + bad)
    assert [c.name for c in decision.checks if not c.passed] == ["category/bad"]
    joined = [p.model_copy(update={"category": "one"}) for p in parts]
    assert decide(config, joined, good + bad).passed


def test_the_floor_forgives_luck_beside_a_champion_only() -> None:
    pairs = [pair for name in NAMES[:6] for pair in outcomes(name, won=4)]
    unlucky = outcomes("unlucky", won=1, both=19)  # 20 of 30 at a floor of 0.75: p = 0.197
    whole = pairs + unlucky
    assert judged(whole).passed
    assert not judged(whole, GateConfig(floor_risk=1)).passed
    first = decide(GateConfig(), [part(right(whole))], None)
    assert not first.passed
    assert "20/30" in first.reasons[0]
    broken = pairs + outcomes("broken", won=1, both=16)  # 17 of 30: p = 0.022
    assert "part p broken: 17/30" in judged(broken).reasons[0]


def test_parts_may_have_limits_of_their_own() -> None:
    pairs = [pair for name in NAMES[:4] for pair in outcomes(name, won=5, both=10)]
    assert not judged(pairs).passed
    assert judged(pairs, limits=Threshold(threshold=0.4)).passed


def test_scores_between_right_and_wrong_are_compared_by_sign_flips() -> None:
    pairs = [
        Pair(part="p", primitive=name, before=0.8, after=0.8 + 0.01 * (i % 4))
        for name in NAMES[:4]
        for i in range(EACH)
    ]
    decision = judged(pairs)
    assert decision.passed
    assert check(decision, "champion").figures["difference"] == pytest.approx(0.0145, abs=6e-4)
    lowered = [pair.model_copy(update={"before": pair.after, "after": pair.before}) for pair in pairs]
    assert not judged(lowered).passed


def test_calibration_may_not_get_worse() -> None:
    better = [pair for name in NAMES[:8] for pair in outcomes(name, won=5, both=20)]
    honest = {"before_confidence": 0.7, "after_confidence": 0.85}
    known = [pair.model_copy(update=honest) for pair in better]
    assert judged(known).passed
    assert not check(judged(known), "calibration").skipped
    boasting = [pair.model_copy(update={**honest, "after_confidence": 1.0}) for pair in better]
    decision = judged(boasting)
    assert [c.name for c in decision.checks if not c.passed] == ["calibration"]
    assert "calibration worse" in decision.reasons[0]
    assert judged(boasting, GateConfig(calibration_slack=0.5)).passed


def test_what_was_not_measured_alike_is_refused_with_the_reason() -> None:
    pairs = [pair for name in NAMES[:8] for pair in outcomes(name, won=5, both=20)]
    asked, config = [part(right(pairs))], GateConfig()
    apart = Comparable(against=("template: a and b",), labels=())
    decision = decide(config, asked, pairs, apart)
    assert not decision.passed
    assert decision.reasons == ("champion and candidate were not measured alike: template: a and b",)
    assert all(not found.name.startswith("champion") for found in decision.checks)
    alike = decide(config, asked, pairs, Comparable(against=(), labels=("device: cpu and cuda",)))
    assert alike.passed
    assert check(alike, "comparable").text.endswith("device: cpu and cuda")


def test_other_problems_are_no_comparison() -> None:
    pairs = [pair for name in NAMES[:3] for pair in outcomes(name, won=5)]
    asked = [part(right(pairs))]
    for wrong in (
        [],
        pairs[1:],
        [*pairs, pairs[0]],
        [pairs[0].model_copy(update={"primitive": "other"}), *pairs[1:]],
        [pairs[0].model_copy(update={"part": "other"}), *pairs[1:]],
    ):
        decision = decide(GateConfig(), asked, wrong)
        assert not decision.passed
        assert "as asked" in check(decision, "champion").text


def test_a_part_of_an_evaluation_never_passes() -> None:
    whole = part({"a": 29, "b": 30})
    assert decide(GateConfig(), [whole], None).passed
    for broken in (
        [],
        [whole.model_copy(update={"asked": {}, "answered": {}})],
        [whole.model_copy(update={"answered": {"a": (29, EACH)}})],
        [whole.model_copy(update={"answered": {"a": (29, EACH), "b": (29, EACH - 1)}})],
    ):
        decision = decide(GateConfig(), broken, None)
        assert not decision.passed
        assert decision.reasons


def test_settings_are_bounded() -> None:
    for options in ({"threshold": 0}, {"alpha": 0.5}, {"primitive_floor": 0.9}, {"alfa": 0.05}):
        with pytest.raises(ValidationError):
            GateConfig.model_validate(options)
