"""From graded answers to shares with intervals, and from a suite's parts to its score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import sqrt
from statistics import fmean, stdev
from typing import Literal

from realm.core.errors import StateError
from realm.core.events import Graded, Interval
from realm.core.records import Record
from realm.evaluation.intervals import Z_95, pool, wilson
from realm.evaluation.suite import Suite

Scoring = Literal["binary", "graded"]

_ROUNDING = 1e-9


class Score(Record):
    """Right answers of one suite."""

    pooled: Interval
    primitives: dict[str, Interval]
    mean: float | None
    """Of the answers' scores, in [0, 1]; None when nothing was asked."""


def score(suite: Suite, answers: Sequence[Graded]) -> Score:
    """Score a suite. Raises StateError unless each of its problems was answered exactly once.

    Of a suite that may end early, some of its problems may be missing, but none may be strange.
    """
    asked = sorted((p.primitive, p.key) for p in suite.problems)
    answered = sorted((a.primitive, a.key) for a in answers)
    fits = set(answered) <= set(asked) and len(set(answered)) == len(answered) > 0
    if not (fits if suite.early else asked == answered):
        raise StateError(
            f"{suite.id}: {len(answered)} answers do not match its {len(asked)} problems",
            hint="evaluate the checkpoint again; part of an evaluation is no score",
        )
    primitives = {
        name: wilson(
            sum(a.correct for a in answers if a.primitive == name),
            sum(a.primitive == name for a in answers),
        )
        for name in dict.fromkeys(p.primitive for p in suite.problems)
    }
    mean = fmean(a.score for a in answers) if answers else None
    return Score(pooled=pool(primitives.values()), primitives=primitives, mean=mean)


# --- a suite file's score -------------------------------------------------------------------


class Share(Record):
    """A mean score in [0, 1] with its 95 % interval, and what it is of."""

    mean: float
    low: float
    high: float
    asked: int
    problems: int
    """More than were asked where the verdict was certain early."""
    least: float
    """The mean if every problem that was not asked were wrong."""
    most: float
    """The mean if every one of them were right."""


class TaskScore(Record):
    """What a checkpoint made of one task of a suite."""

    name: str
    category: str
    weight: float
    scoring: Scoring
    threshold: float
    score: Share
    passed: bool | None
    """None where too little was asked to say."""
    primitives: dict[str, Share]
    verdicts: tuple[str, ...] = ()
    """Parts whose verdict was certain early, so that not all their problems were asked."""


class SuiteScore(Record):
    """What a checkpoint made of a suite."""

    suite: str
    version: str
    size: str
    threshold: float
    composite: Share
    """The weighted mean of the tasks."""
    passed: bool | None
    """The composite reaches the suite's threshold, and tasks their own; None where too little was asked."""
    categories: dict[str, float]
    """Weighted mean of the tasks of each category."""
    tasks: tuple[TaskScore, ...]
    early: bool
    """Some task was ended early; its score is of the problems that were asked."""


def share(answers: Sequence[Graded], scoring: Scoring, problems: int) -> Share:
    """Return the mean with its interval: Wilson's for right and wrong, the normal one for scores."""
    if not answers:
        return Share(mean=0.0, low=0.0, high=1.0, asked=0, problems=problems, least=0.0, most=1.0)
    asked = len(answers)
    if scoring == "binary":
        found = wilson(sum(answer.correct for answer in answers), asked)
        mean, low, high = found.correct / asked, found.low, found.high
    else:
        scores = [answer.score for answer in answers]
        mean = fmean(scores)
        half = Z_95 * stdev(scores) / sqrt(asked) if asked > 1 else 1.0
        low, high = max(0.0, mean - half), min(1.0, mean + half)
    return Share(
        mean=mean,
        low=low,
        high=high,
        asked=asked,
        problems=problems,
        least=mean * asked / problems,
        most=(mean * asked + problems - asked) / problems,
    )


def decided(found: Share, threshold: float, parts: Sequence[bool | None]) -> bool | None:
    """Say whether a mean reaches its threshold, also where its parts were ended early but all alike.

    None where what was not asked could still turn it.
    """
    if found.least >= threshold - _ROUNDING:
        return True
    if found.most < threshold - _ROUNDING:
        return False
    verdicts = set(parts)
    return verdicts.pop() if len(verdicts) == 1 else None


def composite(scores: Sequence[TaskScore]) -> Share:
    """Return the weighted mean of task scores; its interval takes the tasks as independent."""
    weights = sum(task.weight for task in scores)
    mean = sum(task.weight * task.score.mean for task in scores) / weights
    below = sqrt(sum((task.weight * (task.score.mean - task.score.low)) ** 2 for task in scores)) / weights
    above = sqrt(sum((task.weight * (task.score.high - task.score.mean)) ** 2 for task in scores)) / weights
    return Share(
        mean=mean,
        low=max(0.0, mean - below),
        high=min(1.0, mean + above),
        asked=sum(task.score.asked for task in scores),
        problems=sum(task.score.problems for task in scores),
        least=sum(task.weight * task.score.least for task in scores) / weights,
        most=sum(task.weight * task.score.most for task in scores) / weights,
    )


# --- whether two evaluations may be compared ------------------------------------------------

MATTERS = ("backend", "url", "server", "template", "profile", "sampling", "max_tokens", "seed", "dtype")
"""What two evaluations must share of how they were measured; of a backend, its name without the version.

`url` and `server` (whose software it is) are an endpoint's."""
LABELS = ("backend", "model", "device", "code_version")
"""What is said where it differs, and does not keep two evaluations apart.

`model` is the name that an endpoint serves a checkpoint under: two checkpoints have two."""


class Comparable(Record):
    """Whether two evaluations may be compared, and what has to be said with it."""

    against: tuple[str, ...]
    """Why they may not be compared; empty where they may."""
    labels: tuple[str, ...]
    """What differs and has to be said."""


def conditions(context: Mapping[str, object]) -> dict[str, str]:
    """Return what two evaluations must share, by the names in MATTERS."""
    return {name: _told(name, context) for name in MATTERS}


def comparable(a: Mapping[str, object], b: Mapping[str, object], suites: tuple[str, str]) -> Comparable:
    """Say whether two evaluations may be compared, from their contexts and the ids of their suites."""
    against = [] if suites[0] == suites[1] else [f"other problems: {suites[0]} and {suites[1]}"]
    mine, theirs = conditions(a), conditions(b)
    against += [f"{name}: {mine[name]} and {theirs[name]}" for name in MATTERS if mine[name] != theirs[name]]
    labels = [
        f"{name}: {a.get(name, 'unknown')} and {b.get(name, 'unknown')}"
        for name in LABELS
        if a.get(name) != b.get(name) and not any(line.startswith(f"{name}:") for line in against)
    ]
    return Comparable(against=tuple(against), labels=tuple(labels))


_BEFORE = {"max_tokens": "64", "seed": "0", "profile": "none", "url": "none", "server": "none"}
"""What held where an evaluation says nothing of it."""


def _told(name: str, context: Mapping[str, object]) -> str:
    told = str(context.get(name, _BEFORE.get(name, "unknown")))
    return told.partition(" ")[0] if name == "backend" else told
