"""Watch for regressions: every checkpoint of a hero in order, and who fell behind the best."""

from __future__ import annotations

from collections.abc import Collection

from realm.core.errors import StateError
from realm.core.events import RegressionFound
from realm.evaluation.ranking import (
    Answered,
    Measured,
    Ranking,
    Way,
    Where,
    common_ground,
    rank,
)
from realm.flows.context import Lab
from realm.flows.promotion import reigning
from realm.ledger.records import CheckpointRecord, EvaluationRecord

NEWEST = 200
"""So many of the newest checkpoints are ranked, and the champion."""

_Asked = dict[str, dict[Where, EvaluationRecord]]


def ranking(lab: Lab, suites: Collection[str] | None = None) -> Ranking:
    """Rank the hero's checkpoints against the newest that was evaluated.

    `suites` are the ids of the parts to go by; None takes the parts over which the most can be compared.
    Evaluations that were ended early never count. Raises StateError where nothing was evaluated.
    """
    checkpoints = _checkpoints(lab)
    asked = _asked(lab, checkpoints, suites)
    if not asked:
        raise StateError(
            f"no checkpoint of {lab.hero_name} has answered {'this suite' if suites else 'anything'}",
            hint="ask one with `realm eval run`",
        )
    current = max(asked, key=lambda found: checkpoints[found].sequence)
    problems = {
        found: {where: record.total for where, record in parts.items()} for found, parts in asked.items()
    }
    ground = common_ground(problems, current) if suites is None else asked[current].keys()
    return rank(_measured(lab, checkpoints, asked, ground), current, lab.config.regression)


def _checkpoints(lab: Lab) -> dict[str, CheckpointRecord]:
    found = lab.ledger.checkpoints.list(lab.campaign, lab.hero_name, limit=NEWEST)
    sound = [checkpoint for checkpoint in found if not checkpoint.damage]
    champion = reigning(lab)
    return {checkpoint.hash: checkpoint for checkpoint in (*([champion] if champion else []), *sound)}


def _asked(lab: Lab, checkpoints: Collection[str], suites: Collection[str] | None) -> _Asked:
    found: _Asked = {}
    for record in lab.ledger.evaluations.of_checkpoints(checkpoints):
        wanted = suites is None or record.suite in suites
        if wanted and record.total and not record.verdict:
            where = Where(record.suite, Way.of(record.context))
            found.setdefault(record.checkpoint, {})[where] = record
    return found


def _measured(
    lab: Lab, checkpoints: dict[str, CheckpointRecord], asked: _Asked, ground: Collection[Where]
) -> list[Measured]:
    """Return the answers to the parts of the ground, and without them who answered these otherwise."""
    parts = {where.part for where in ground}
    return [
        Measured(
            checkpoint=found,
            name=checkpoints[found].name,
            hero_step=checkpoints[found].hero_step,
            part=where.part,
            way=where.way,
            answers=_answers(lab, record) if where in ground else (),
        )
        for found, records in asked.items()
        for where, record in records.items()
        if where.part in parts
    ]


def _answers(lab: Lab, record: EvaluationRecord) -> tuple[Answered, ...]:
    return tuple(Answered(**scored._asdict()) for scored in lab.ledger.evaluations.scores(record.id))


def tell_regression(lab: Lab) -> None:
    """Tell, once for each checkpoint, that the newest is significantly worse than the best."""
    newest = lab.ledger.checkpoints.latest(lab.campaign, lab.hero_name)
    if not lab.counts or newest is None or newest.hash in _told(lab):
        return
    if not lab.ledger.evaluations.list(checkpoint=newest.hash, limit=1):
        return
    found = ranking(lab)
    now = next((standing for standing in found.ranked if standing.checkpoint == newest.hash), None)
    if now is None or not (now.significant or now.fallen):
        return
    best = found.ranked[0]
    small = f"it scores {now.score:.3f}, {best.name} {best.score:.3f} on the same problems"
    reasons = found.rollback.reasons if found.rollback else (f"{small} (p = {now.chance:.3g})",)
    lab.emit(
        RegressionFound(
            hero=lab.hero_name,
            checkpoint=now.name,
            hash=now.checkpoint,
            hero_step=now.hero_step,
            score=now.score,
            best=best.name,
            best_hash=best.checkpoint,
            best_score=best.score,
            problems=found.problems,
            chance=now.chance,
            alarm=now.alarm,
            reasons=reasons,
        )
    )


def _told(lab: Lab) -> set[str]:
    kept = (event for _, _, event in lab.ledger.events.list(["regression_found"]))
    return {event.hash for event in kept if isinstance(event, RegressionFound)}
