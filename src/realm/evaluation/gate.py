"""The gate: whether a candidate may become champion, and why.

Two things are asked. On every suite of a mastered level the candidate meets the thresholds. And
on the same problems it has not lost significantly against the champion: exact one-sided McNemar
test, that is a binomial test over the problems that exactly one of the two got right.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Annotated

from pydantic import Field

from realm.core.records import Record
from realm.evaluation.suite import Suite
from realm.skills.threshold import Threshold

Scores = Mapping[str, tuple[int, int]]
"""(correct, total) per primitive."""
Pair = tuple[str, bool, bool]
"""A problem's key, whether the champion was right, whether the candidate was right."""


class GateConfig(Threshold):
    """What a candidate must show on every suite of a mastered level."""

    alpha: Annotated[float, Field(gt=0, lt=0.5)] = 0.05
    """Below this chance of so many losses by luck, a candidate counts as worse."""


class Check(Record):
    """One question of the gate and its answer in figures."""

    name: str
    passed: bool
    text: str


class Decision(Record):
    """What the gate decided."""

    passed: bool
    reasons: tuple[str, ...]
    """What was against it; where nothing was, what spoke for it."""
    checks: tuple[Check, ...]
    correct: int
    """Right answers of the candidate on all suites."""
    total: int


def decide(
    config: GateConfig,
    suites: Sequence[Suite],
    candidate: Mapping[str, Scores],
    pairs: Sequence[Pair] | None,
) -> Decision:
    """Decide over a candidate's scores by suite id; `pairs` is None while there is no champion."""
    checks = [
        check for suite in suites for check in _suite_checks(config, suite, candidate.get(suite.id, {}))
    ]
    if not any(suite.problems for suite in suites):
        checks = [Check(name="evaluated", passed=False, text="no mastered level has been evaluated")]
    elif pairs is not None:
        checks.append(_against_champion(config, pairs, sum(len(suite.problems) for suite in suites)))
    passed = all(check.passed for check in checks)
    scores = [part for suite in suites for part in candidate.get(suite.id, {}).values()]
    return Decision(
        passed=passed,
        reasons=tuple(check.text for check in checks if check.passed == passed),
        checks=tuple(checks),
        correct=sum(part[0] for part in scores),
        total=sum(part[1] for part in scores),
    )


def _suite_checks(config: GateConfig, suite: Suite, scores: Scores) -> list[Check]:
    asked = Counter(problem.primitive for problem in suite.problems)
    answered = {name: total for name, (_, total) in scores.items()}
    where = f"{suite.skill} level {suite.level}"
    if not asked or answered != dict(asked):
        text = f"{where}: {sum(answered.values())} of {asked.total()} problems answered as asked"
        return [Check(name=f"{suite.id}/complete", passed=False, text=text)]
    pooled = sum(correct for correct, _ in scores.values())
    checks = [_at_least(f"{suite.id}/all", where, pooled, asked.total(), config.threshold)]
    checks += [
        _at_least(f"{suite.id}/{name}", f"{where} {name}", *scores[name], config.floor) for name in asked
    ]
    return checks


def _at_least(name: str, where: str, correct: int, total: int, least: float) -> Check:
    passed = correct / total >= least
    sign = "≥" if passed else "<"
    text = f"{where}: {correct}/{total} = {correct / total:.3f} {sign} {least:.3f}"
    return Check(name=name, passed=passed, text=text)


def _against_champion(config: GateConfig, pairs: Sequence[Pair], problems: int) -> Check:
    if len(pairs) != problems:
        text = f"champion and candidate both answered {len(pairs)} of {problems} problems"
        return Check(name="champion", passed=False, text=text)
    losses = sum(champion and not candidate for _, champion, candidate in pairs)
    wins = sum(candidate and not champion for _, champion, candidate in pairs)
    chance = mcnemar(losses, wins)
    passed = chance >= config.alpha
    word, sign = ("not worse than", "≥") if passed else ("worse than", "<")
    text = (
        f"{word} the champion on {problems} problems: {losses} lost, {wins} won"
        f" (p = {chance:.3g} {sign} {config.alpha:g})"
    )
    return Check(name="champion", passed=passed, text=text)


def mcnemar(losses: int, wins: int) -> float:
    """Return the chance of at least so many losses if losing and winning were equally likely.

    P(X ≥ losses) for X ~ Binomial(losses + wins, 1/2), exact; 1 where nothing differs.
    """
    n = losses + wins
    ways, term = 0, 1  # term is C(n, k)
    for k in range(n, losses - 1, -1):
        ways += term
        term = term * k // (n - k + 1)
    return ways / (1 << n)
