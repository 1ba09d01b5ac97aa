"""The gate: whether a candidate may become champion, and why.

Asked of the candidate alone: every problem answered, and the thresholds met in every part. A primitive's
floor is met where its share is above, or so little below that luck explains it: 30 answers of each of many
primitives are always unlucky somewhere. The first champion has to be above.

Asked against the champion, on the same problems:

- measured alike: backend, precision, template, manner and sampling, else nothing is compared (see `score`);
- better: it has won more than luck explains over all problems together. One test, so a candidate that is
  truly no better replaces the champion with at most `promotion_alpha`, whatever it traded for what;
- no category lost: none is significantly worse, corrected for all categories (Holm);
- no mastered primitive lost: none is significantly worse, corrected for all of them (Holm);
- calibration not worse, where confidences are known.

A candidate that wins too little to be sure leaves the champion where it is; nothing is lost, as what it
learnt goes into the next one, which is compared with the same champion.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from math import ceil
from typing import Annotated

from pydantic import Field

from realm.core.records import Record
from realm.evaluation.calibration import compare_calibration
from realm.evaluation.comparison import Difference, Pair, compare
from realm.evaluation.score import Comparable
from realm.evaluation.statistics import at_most, holm, problems_needed
from realm.skills.threshold import Threshold

_GAIN = 0.05
_POWER = 0.8
"""What the text of an undecided comparison counts problems for."""
_MANY = {"category": "categories", "primitive": "primitives"}


class GateConfig(Threshold):
    """What a candidate must show before it replaces the champion."""

    alpha: Annotated[float, Field(gt=0, lt=0.5)] = 0.05
    """Chance of taking luck for a loss, over all categories and again over all primitives."""
    promotion_alpha: Annotated[float, Field(gt=0, lt=0.5)] = 0.025
    """Chance that a candidate that is truly no better replaces the champion."""
    must_improve: bool = True
    """Whether a candidate must be shown better than the champion; otherwise not worse is enough."""
    floor_risk: Annotated[float, Field(gt=0, le=1)] = 0.05
    """Beside a champion a primitive is below its floor only where so few right answers would have at most
    this chance at the floor; 1 takes the share as it is."""
    calibration_slack: Annotated[float, Field(ge=0, le=1)] = 0.05
    """Rise of the expected calibration error that is not yet worse."""


class Part(Record):
    """What was asked of the candidate in one part of a suite, and what came of it."""

    id: str
    title: str
    """How people call it, such as `bin level 3`."""
    category: str
    """Parts of one category are compared with the champion together."""
    asked: dict[str, int]
    """Problems by primitive."""
    answered: dict[str, tuple[float, int]]
    """Summed score (the right answers, where an answer is right or wrong) and answers, by primitive."""
    mastered: bool = True
    """Whether its primitives are guarded one by one, because a level that asks them is mastered."""
    limits: Threshold | None = None
    """Its own thresholds; none means the gate's."""


class Check(Record):
    """One question of the gate and its answer in figures."""

    name: str
    passed: bool
    text: str
    skipped: bool = False
    """Not asked, and why is in the text; counts as passed."""
    figures: dict[str, float] = Field(default_factory=dict)


class Decision(Record):
    """What the gate decided."""

    passed: bool
    reasons: tuple[str, ...]
    """What was against it; where nothing was, what spoke for it."""
    checks: tuple[Check, ...]
    correct: float
    """Summed score of the candidate in all parts: the right answers, where answers are right or wrong."""
    total: int


def decide(
    config: GateConfig,
    parts: Sequence[Part],
    pairs: Sequence[Pair] | None,
    measured: Comparable | None = None,
) -> Decision:
    """Decide over a candidate, part by part and against the champion.

    `pairs` holds champion and candidate on every problem of every part; None while there is no champion.
    `measured` says whether both were measured alike; None where that was seen to elsewhere.
    """
    risk = 1.0 if pairs is None else config.floor_risk
    checks = [check for part in parts for check in _part_checks(config, part, risk)]
    if not any(part.asked for part in parts):
        checks = [Check(name="evaluated", passed=False, text="no mastered level has been evaluated")]
    elif pairs is not None:
        alike = [] if measured is None else [_alike(measured)]
        checks += alike
        if all(check.passed for check in alike):
            checks += _against_champion(config, parts, pairs)
    passed = all(check.passed for check in checks)
    scores = [score for part in parts for score in part.answered.values()]
    return Decision(
        passed=passed,
        reasons=tuple(check.text for check in checks if check.passed == passed),
        checks=tuple(checks),
        correct=sum(points for points, _ in scores),
        total=sum(total for _, total in scores),
    )


def _part_checks(config: GateConfig, part: Part, risk: float) -> list[Check]:
    counts = {name: total for name, (_, total) in part.answered.items()}
    asked = sum(part.asked.values())
    if not part.asked or counts != part.asked:
        text = f"{part.title}: {sum(counts.values())} of {asked} problems answered as asked"
        return [Check(name=f"{part.id}/complete", passed=False, text=text)]
    limits = part.limits or config
    points = sum(points for points, _ in part.answered.values())
    checks = [_at_least(f"{part.id}/all", part.title, points, asked, limits.threshold)]
    for name in part.asked:
        where, (points, total) = f"{part.title} {name}", part.answered[name]
        checks.append(_at_least(f"{part.id}/{name}", where, points, total, limits.floor, risk))
    return checks


def _at_least(name: str, where: str, points: float, total: int, least: float, risk: float = 1.0) -> Check:
    """Check a share against its least; scores count as right answers, rounded up."""
    share = points / total
    text = f"{where}: {points:g}/{total} = {share:.3f} {'≥' if share >= least else '<'} {least:.3f}"
    figures = {"share": share, "least": least}
    if share >= least or least == 1 or risk == 1:
        return Check(name=name, passed=share >= least, text=text, figures=figures)
    chance = at_most(ceil(points), total, least)
    passed = chance >= risk
    text += f" (p = {chance:.3g}{' ≥' if passed else ' <'} {risk:g})"
    return Check(name=name, passed=passed, text=text, figures={**figures, "p": chance})


def _alike(measured: Comparable) -> Check:
    if measured.against:
        text = f"champion and candidate were not measured alike: {'; '.join(measured.against)}"
        return Check(name="comparable", passed=False, text=text)
    said = f"; {'; '.join(measured.labels)}" if measured.labels else ""
    return Check(name="comparable", passed=True, text=f"champion and candidate were measured alike{said}")


def _against_champion(config: GateConfig, parts: Sequence[Part], pairs: Sequence[Pair]) -> list[Check]:
    asked = Counter({(part.id, name): count for part in parts for name, count in part.asked.items()})
    if Counter((pair.part, pair.primitive) for pair in pairs) != asked:
        text = f"champion and candidate both answered {len(pairs)} of {asked.total()} problems as asked"
        return [Check(name="champion", passed=False, text=text)]
    category = {part.id: part.category for part in parts}
    guarded = {part.id for part in parts if part.mastered}
    categories = _grouped(pairs, lambda pair: category[pair.part])
    primitives = _grouped([p for p in pairs if p.part in guarded], lambda pair: pair.primitive)
    return [
        _overall(config, compare("all", pairs)),
        *_none_worse(config, "category", categories),
        *_none_worse(config, "primitive", primitives),
        _calibration(config, pairs),
    ]


def _overall(config: GateConfig, found: Difference) -> Check:
    return _better(config.promotion_alpha, found) if config.must_improve else _not_worse(config.alpha, found)


def _better(alpha: float, found: Difference) -> Check:
    passed = found.better < alpha
    verdict, sign = ("better", "<") if passed else ("not shown to be better", "≥")
    text = f"{verdict} than the champion on {_figures(found)} (p = {found.better:.3g} {sign} {alpha:g})"
    discordance = (found.wins + found.losses) / max(1, found.problems)
    needed = problems_needed(_GAIN, discordance, alpha=alpha, power=_POWER)
    if not passed and found.problems < needed:
        text += f"; a gain of {_GAIN:g} takes about {needed} problems to show"
    return Check(name="champion", passed=passed, text=text, figures=_numbers(found, found.better))


def _not_worse(alpha: float, found: Difference) -> Check:
    passed = found.worse >= alpha
    verdict, sign = ("not worse", "≥") if passed else ("worse", "<")
    text = f"{verdict} than the champion on {_figures(found)} (p = {found.worse:.3g} {sign} {alpha:g})"
    return Check(name="champion", passed=passed, text=text, figures=_numbers(found, found.worse))


def _none_worse(config: GateConfig, kind: str, groups: dict[str, list[Pair]]) -> list[Check]:
    """Return one check over the family where nothing is worse, else one for each group that is."""
    found = [compare(name, pairs) for name, pairs in groups.items()]
    chances = holm([difference.worse for difference in found])
    worse = [
        Check(
            name=f"{kind}/{difference.name}",
            passed=False,
            text=f"{kind} {difference.name} is worse than the champion's on {_figures(difference)}"
            f" (p = {chance:.3g} < {config.alpha:g} of {len(found)})",
            figures=_numbers(difference, chance),
        )
        for difference, chance in zip(found, chances, strict=True)
        if chance < config.alpha
    ]
    if worse:
        return worse
    lowest = min(chances, default=1.0)
    text = f"none of {len(found)} {_MANY[kind]} is worse than the champion's (least p = {lowest:.3g})"
    figures = {"groups": float(len(found)), "p": lowest}
    return [Check(name=kind, passed=True, text=text, figures=figures)]


def _calibration(config: GateConfig, pairs: Sequence[Pair]) -> Check:
    found = compare_calibration(pairs)
    if found is None:
        text = "calibration was not compared: no problem has the confidences of both models"
        return Check(name="calibration", passed=True, skipped=True, text=text)
    passed = found.low <= config.calibration_slack
    text = (
        f"calibration {'not worse' if passed else 'worse'} than the champion's: error {found.before:.3f} →"
        f" {found.after:.3f}, {found.difference:+.3f} [{found.low:+.3f}, {found.high:+.3f}]"
        f" on {found.answers} of {len(pairs)} problems"
    )
    figures = found.model_dump()
    return Check(name="calibration", passed=passed, text=text, figures=figures)


def _grouped(pairs: Sequence[Pair], name: Callable[[Pair], str]) -> dict[str, list[Pair]]:
    groups: dict[str, list[Pair]] = {}
    for pair in pairs:
        groups.setdefault(name(pair), []).append(pair)
    return groups


def _figures(found: Difference) -> str:
    return (
        f"{found.problems} problems: {found.losses} lost, {found.wins} won,"
        f" {found.difference:+.3f} [{found.low:+.3f}, {found.high:+.3f}]"
    )


def _numbers(found: Difference, chance: float) -> dict[str, float]:
    figures = found.model_dump(include={"difference", "low", "high"})
    return {**figures, "problems": found.problems, "won": found.wins, "lost": found.losses, "p": chance}
