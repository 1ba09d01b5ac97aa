"""Rank checkpoints by what may be compared, notice who fell behind the best, and suggest the way back.

Scores are comparable where the same part of a suite was asked and measured alike, by the rule of `score`:
the same backend, precision, template, manner and sampling. Everything else is left out, and said so. The
best of many is in part the luckiest: a drop against it counts only where luck does not explain it, corrected
for all checkpoints that are held against it (Holm).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, NamedTuple, Self

from pydantic import Field, model_validator

from realm.core.config import Config
from realm.core.errors import NotFoundError
from realm.core.events import Interval
from realm.core.records import Record
from realm.evaluation.comparison import Difference, Pair, Share, compare
from realm.evaluation.intervals import wilson
from realm.evaluation.score import conditions
from realm.evaluation.statistics import holm

Alarm = Literal["ok", "warning", "critical"]


class RegressionConfig(Config):
    """When a drop against the best checkpoint raises an alarm."""

    warning: Annotated[float, Field(gt=0, le=1)] = 0.15
    """Drop of the mean score, over everything or in one part, from which going back is suggested."""
    critical: Annotated[float, Field(gt=0, le=1)] = 0.30
    """Drop from which the alarm is called critical."""
    alpha: Annotated[float, Field(gt=0, lt=0.5)] = 0.05
    """Chance of taking luck for a drop anywhere among the checkpoints."""

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.critical < self.warning:
            raise ValueError(f"critical ({self.critical:g}) is below warning ({self.warning:g})")
        return self


class Way(Record):
    """How answers were generated; scores of different ways are never compared."""

    backend: str
    """Its name; versions are not kept apart."""
    url: str
    """Of an endpoint."""
    server: str
    """Whose software serves there."""
    dtype: str
    template: str
    profile: str
    sampling: str
    max_tokens: str
    seed: str

    @classmethod
    def of(cls, context: Mapping[str, Any]) -> Self:
        """Read it from an evaluation's context."""
        return cls(**conditions(context))


class Where(NamedTuple):
    """A part of a suite, and how it was measured."""

    part: str
    way: Way


class Answered(Record):
    """What one answer was worth."""

    key: str
    primitive: str
    score: Share


class Measured(Record):
    """One checkpoint's answers to one part of a suite."""

    checkpoint: str
    name: str
    hero_step: int
    part: str
    """Id of the suite's part: the same id means the same problems, grader and versions."""
    way: Way
    answers: tuple[Answered, ...]


class Standing(Record):
    """Where one checkpoint stands."""

    checkpoint: str
    name: str
    hero_step: int
    score: Share
    """Mean over all problems of the basis."""
    right: Interval
    """Answers worth everything."""
    drop: float
    """Score of the best minus this one's."""
    chance: float
    """Of so much loss against the best by luck, corrected for all checkpoints ranked; 1 for the best."""
    significant: bool
    alarm: Alarm
    """By the size of drops that luck does not explain."""
    fallen: tuple[str, ...]
    """Parts with an alarm of their own."""


class Left(Record):
    """A checkpoint that cannot be ranked with the others."""

    name: str
    reason: str


class Rollback(Record):
    """The checkpoint to go back to, and why."""

    checkpoint: str
    name: str
    reasons: tuple[str, ...]


class Ranking(Record):
    """All checkpoints that are comparable with the current one, best first."""

    parts: tuple[str, ...]
    problems: int
    ranked: tuple[Standing, ...]
    left_out: tuple[Left, ...]
    rollback: Rollback | None
    """What is suggested for the current checkpoint; None where it may stay."""


def common_ground(asked: Mapping[str, Mapping[Where, int]], current: str) -> frozenset[Where]:
    """Return the parts of the current checkpoint over which the most answers can be compared.

    `asked` holds the problems by part, checkpoint by checkpoint. Levels are asked one after the other, so
    checkpoints rarely share all their parts. Where nobody shares any, all of the current one's.
    """
    own = asked[current]
    shared = {name: frozenset(own.keys() & found.keys()) for name, found in asked.items() if name != current}
    grounds = [ground for ground in dict.fromkeys(shared.values()) if ground]

    def worth(ground: frozenset[Where]) -> tuple[int, int]:
        problems = sum(own[where] for where in ground)
        return sum(ground <= found for found in shared.values()) * problems, problems

    return max(grounds, key=worth, default=frozenset(own))


_Basis = dict[tuple[str, Way], dict[str, Answered]]


def rank(measured: Sequence[Measured], current: str, config: RegressionConfig | None = None) -> Ranking:
    """Rank checkpoints by the parts and ways in which `current` was measured.

    Raises NotFoundError where `current` (a checkpoint's hash) was never measured.
    """
    config = config or RegressionConfig()
    bases, heads = _by_checkpoint(measured)
    if current not in bases:
        raise NotFoundError(f"checkpoint {current} has not been evaluated", hint="evaluate it first")
    wanted = bases[current]
    left = {c: why for c, basis in bases.items() if (why := _incomparable(basis, wanted))}
    means = {c: _mean(bases[c], wanted) for c in bases if c not in left}
    order = sorted(means, key=lambda c: (-means[c], -heads[c].hero_step, c))
    rest = [_compare(bases[order[0]], bases[c], wanted) for c in order[1:]]
    chances = (1.0, *holm([differences[0].worse for differences in rest]))
    ranked = tuple(
        _standing(heads[c], bases[c], wanted, ([], *rest)[place], chances[place], config)
        for place, c in enumerate(order)
    )
    return Ranking(
        parts=tuple(part for part, _ in wanted),
        problems=sum(len(answers) for answers in wanted.values()),
        ranked=ranked,
        left_out=tuple(Left(name=heads[c].name, reason=why) for c, why in left.items()),
        rollback=_rollback(ranked, current),
    )


def _by_checkpoint(measured: Sequence[Measured]) -> tuple[dict[str, _Basis], dict[str, Measured]]:
    bases: dict[str, _Basis] = {}
    heads: dict[str, Measured] = {}
    for found in measured:
        basis = bases.setdefault(found.checkpoint, {})
        basis[found.part, found.way] = {answer.key: answer for answer in found.answers}
        heads.setdefault(found.checkpoint, found)
    return bases, heads


def _incomparable(basis: _Basis, wanted: _Basis) -> str:
    for (part, way), answers in wanted.items():
        if (part, way) not in basis:
            asked = any(other == part for other, _ in basis)
            how = "another backend, precision, template, manner or sampling" if asked else "nobody asked it"
            return f"{part}: {how}"
        if basis[part, way].keys() != answers.keys():
            return f"{part}: other problems were answered"
    return ""


def _mean(basis: _Basis, wanted: _Basis) -> float:
    scores = [answer.score for where in wanted for answer in basis[where].values()]
    return sum(scores) / max(1, len(scores))


def _compare(best: _Basis, other: _Basis, wanted: _Basis) -> list[Difference]:
    """Return the difference over everything, then that of each part."""
    parts = {
        where: [
            Pair(part=where[0], primitive=mine.primitive, before=mine.score, after=other[where][key].score)
            for key, mine in best[where].items()
        ]
        for where in wanted
    }
    together = compare("all", [pair for pairs in parts.values() for pair in pairs])
    return [together, *(compare(where[0], pairs) for where, pairs in parts.items())]


def _standing(
    head: Measured,
    basis: _Basis,
    wanted: _Basis,
    differences: list[Difference],
    chance: float,
    config: RegressionConfig,
) -> Standing:
    scores = [answer.score for where in wanted for answer in basis[where].values()]
    parts = differences[1:]
    corrected = holm([difference.worse for difference in parts])
    alarms = [_alarm(d, p, config) for d, p in zip(parts, corrected, strict=True)]
    overall = _alarm(differences[0], chance, config) if differences else "ok"
    levels: tuple[Alarm, ...] = ("critical", "warning")
    return Standing(
        checkpoint=head.checkpoint,
        name=head.name,
        hero_step=head.hero_step,
        score=sum(scores) / max(1, len(scores)),
        right=wilson(sum(score == 1 for score in scores), len(scores)),
        drop=max(0.0, -differences[0].difference) if differences else 0.0,
        chance=chance,
        significant=chance < config.alpha,
        alarm=next((level for level in levels if level in (overall, *alarms)), "ok"),
        fallen=tuple(d.name for d, alarm in zip(parts, alarms, strict=True) if alarm != "ok"),
    )


def _alarm(found: Difference, chance: float, config: RegressionConfig) -> Alarm:
    if chance >= config.alpha or -found.difference < config.warning:
        return "ok"
    return "critical" if -found.difference >= config.critical else "warning"


def _rollback(ranked: tuple[Standing, ...], current: str) -> Rollback | None:
    best, now = ranked[0], next(s for s in ranked if s.checkpoint == current)
    if now.alarm == "ok":
        return None
    reasons = [
        f"{now.name} scores {now.score:.3f}, {best.name} {best.score:.3f} on the same problems"
        f" (p = {now.chance:.3g}): {now.alarm}"
    ]
    reasons += [f"{part} fell" for part in now.fallen]
    return Rollback(checkpoint=best.checkpoint, name=best.name, reasons=tuple(reasons))
