from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realm.core.seeds import rng
from realm.evaluation.early import PASSES, Early, order, verdict
from realm.skills.catalogue.bin import Bin

SCORES = st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0]), max_size=12)


@given(SCORES, st.integers(1, 8), st.sampled_from([0.3, 0.5, 0.8, 1.0]))
def test_the_exact_bound_is_certain_and_misses_nothing(
    scores: list[float], left: int, threshold: float
) -> None:
    total = len(scores) + left
    least, most = sum(scores) / total, (sum(scores) + left) / total
    found = verdict(Early(threshold=threshold, binary=False), scores, total)
    if least >= threshold:
        assert found.startswith(PASSES)
    elif most < threshold - 1e-6:
        assert found.startswith("fails")
    elif most > threshold + 1e-6:
        assert found == ""


def test_nothing_is_early_once_all_is_asked() -> None:
    assert verdict(Early(threshold=0.5, binary=False), [1.0] * 10, 10) == ""
    assert (
        verdict(Early(threshold=0.5, binary=False), [1.0] * 5, 10)
        == "passes for certain after 5 of 10 problems"
    )
    assert (
        verdict(Early(threshold=0.5, binary=False), [0.0] * 6, 10)
        == "fails for certain after 6 of 10 problems"
    )
    assert verdict(Early(threshold=0.5, binary=False), [], 10) == ""


def ended(truth: float, early: Early, seed: int, problems: int = 300) -> tuple[str, int]:
    draw = rng("test early", truth, seed)
    scores: list[float] = []
    while len(scores) < problems:
        scores += [float(draw.random() < truth) for _ in range(16)]
        if found := verdict(early, scores, problems):
            return found, len(scores)
    return "", problems


@pytest.mark.parametrize(("truth", "wrong"), [(0.8, PASSES), (0.75, PASSES), (0.8, "fails"), (0.85, "fails")])
def test_a_wrong_verdict_is_no_likelier_than_the_risk(truth: float, wrong: str) -> None:
    runs = [ended(truth, Early(threshold=0.8, binary=False, risk=0.05), seed)[0] for seed in range(150)]
    risky = sum(found.startswith(wrong) and "risk" in found for found in runs)
    assert risky <= 0.05 * 150 + 3 * (0.05 * 0.95 * 150) ** 0.5


def test_a_clear_case_ends_soon_and_soonest_at_a_risk() -> None:
    certain = [ended(0.2, Early(threshold=0.8, binary=False), seed) for seed in range(50)]
    risky = [ended(0.2, Early(threshold=0.8, binary=False, risk=0.05), seed) for seed in range(50)]
    assert all(found.startswith("fails") for found, _ in [*certain, *risky])
    assert max(asked for _, asked in certain) <= 112
    assert max(asked for _, asked in risky) <= 48
    assert all("risk of 0.05" in found for found, _ in risky)


def test_the_order_is_mixed_and_stays() -> None:
    problems = Bin(Bin.Config()).heldout(4, 30)
    mixed = order("suite", problems)
    assert mixed == order("suite", problems) != list(problems)
    assert set(mixed) == set(problems)
    assert len({problem.primitive for problem in mixed[:16]}) > 3
    assert order("other", problems) != mixed
