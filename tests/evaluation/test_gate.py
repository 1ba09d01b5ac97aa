from __future__ import annotations

from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from realm.evaluation.gate import Decision, GateConfig, Pair, decide, mcnemar
from realm.evaluation.suite import Suite, build_suite
from realm.skills.catalogue.bin import Bin

SKILL = Bin(Bin.Config())
SUITES = [build_suite(SKILL, level, 40) for level in (3, 4)]
PROBLEMS = sum(len(suite.problems) for suite in SUITES)


def scores(suite: Suite, share: float, **changed: tuple[int, int]) -> dict[str, tuple[int, int]]:
    names = [problem.primitive for problem in suite.problems]
    found = {n: (round(names.count(n) * share), names.count(n)) for n in dict.fromkeys(names)}
    return found | changed


def gate(share: float = 0.95, pairs: list[Pair] | None = None, **options: Any) -> Decision:
    return decide(GateConfig(**options), SUITES, {s.id: scores(s, share) for s in SUITES}, pairs)


def paired(losses: int, wins: int, total: int = PROBLEMS) -> list[Pair]:
    outcomes = [(True, False)] * losses + [(False, True)] * wins
    outcomes += [(True, True)] * (total - losses - wins)
    return [(f"problem {i}", champion, candidate) for i, (champion, candidate) in enumerate(outcomes)]


@pytest.mark.parametrize("n", range(11))
def test_mcnemar_equals_brute_force(n: int) -> None:
    flips = [sum(flip) for flip in product((0, 1), repeat=n)]
    for losses in range(n + 1):
        assert mcnemar(losses, n - losses) == sum(x >= losses for x in flips) / 2**n


@given(st.integers(0, 400), st.integers(0, 400))
def test_mcnemar_is_a_chance_that_falls_with_losses(losses: int, wins: int) -> None:
    chance = mcnemar(losses, wins)
    assert 0 < chance <= 1
    assert mcnemar(losses + 1, wins) <= chance <= mcnemar(losses, wins + 1)


def test_mcnemar_known_value() -> None:
    # P(X >= 8 | 10, 1/2) = (45 + 10 + 1) / 1024
    assert mcnemar(8, 2) == 56 / 1024
    assert mcnemar(0, 0) == 1.0
    assert 0 < mcnemar(3000, 2000) < 1e-40


def test_first_champion_needs_the_thresholds_only() -> None:
    decision = gate(0.95)
    assert decision.passed
    assert decision.total == PROBLEMS
    assert not gate(0.70).passed
    assert gate(0.70, threshold=0.6).passed


def test_each_primitive_of_each_level_has_its_floor() -> None:
    for suite in SUITES:
        for name in scores(suite, 1.0):
            whole = {s.id: scores(s, 1.0) for s in SUITES}
            total = whole[suite.id][name][1]
            whole[suite.id][name] = (int(total * 0.7), total)
            decision = decide(GateConfig(), SUITES, whole, None)
            assert not decision.passed
            [reason] = decision.reasons
            assert f"level {suite.level} {name}" in reason
            assert f"{int(total * 0.7)}/{total}" in reason


def test_a_significant_loss_against_the_champion_is_refused() -> None:
    worse = gate(pairs=paired(losses=9, wins=1))  # p = 11/1024
    assert not worse.passed
    assert "9 lost, 1 won" in worse.reasons[0]
    assert "p = 0.0107" in worse.reasons[0]


def test_a_loss_within_luck_passes_and_says_so() -> None:
    luck = gate(pairs=paired(losses=7, wins=3))  # p = 0.172
    assert luck.passed
    assert any("7 lost, 3 won" in reason for reason in luck.reasons)
    assert gate(pairs=paired(losses=0, wins=0)).passed
    assert gate(pairs=paired(losses=0, wins=30)).passed
    assert not gate(pairs=paired(losses=7, wins=3), alpha=0.2).passed


def test_beating_the_champion_does_not_replace_the_thresholds() -> None:
    assert not gate(0.5, pairs=paired(losses=0, wins=60)).passed


def test_an_empty_or_partial_evaluation_never_passes() -> None:
    whole = {suite.id: scores(suite, 1.0) for suite in SUITES}
    assert decide(GateConfig(), SUITES, whole, None).passed
    empty = SUITES[0].model_copy(update={"problems": ()})
    for suites, found in (
        ([], {}),
        ([], whole),
        (SUITES, {}),
        (SUITES, {SUITES[0].id: whole[SUITES[0].id]}),
        (SUITES, {**whole, SUITES[1].id: {}}),
        ([empty], {empty.id: {}}),
    ):
        decision = decide(GateConfig(), suites, found, None)
        assert not decision.passed
        assert decision.reasons
    short = {name: (total - 1, total - 1) for name, (_, total) in whole[SUITES[0].id].items()}
    assert not decide(GateConfig(), SUITES, {**whole, SUITES[0].id: short}, None).passed
    missing = dict(list(whole[SUITES[0].id].items())[1:])
    assert not decide(GateConfig(), SUITES, {**whole, SUITES[0].id: missing}, None).passed


@pytest.mark.parametrize("answered", [0, 1, PROBLEMS - 1])
def test_a_champion_that_answered_other_problems_is_no_comparison(answered: int) -> None:
    decision = gate(1.0, pairs=paired(0, 0, total=answered))
    assert not decision.passed
    assert f"{answered} of {PROBLEMS}" in decision.reasons[0]


def test_settings_are_bounded() -> None:
    for options in ({"threshold": 0}, {"alpha": 0.5}, {"primitive_floor": 0.9}, {"alfa": 0.05}):
        with pytest.raises(ValidationError):
            GateConfig.model_validate(options)
