"""From graded answers to shares with intervals."""

from __future__ import annotations

from collections.abc import Sequence

from realm.core.errors import StateError
from realm.core.events import Interval
from realm.core.records import Record
from realm.evaluation.intervals import pool, wilson
from realm.evaluation.suite import Suite


class GradedAnswer(Record):
    """One problem's answer."""

    key: str
    primitive: str
    correct: bool
    answer: str


class Score(Record):
    """Right answers of one suite."""

    pooled: Interval
    primitives: dict[str, Interval]


def score(suite: Suite, answers: Sequence[GradedAnswer]) -> Score:
    """Score a suite. Raises StateError unless each of its problems was answered exactly once."""
    asked = sorted((p.primitive, p.key) for p in suite.problems)
    answered = sorted((a.primitive, a.key) for a in answers)
    if asked != answered:
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
    return Score(pooled=pool(primitives.values()), primitives=primitives)
