"""What the training behind a checkpoint was worth: effort, quality and health, told once."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from statistics import median
from typing import NamedTuple

from realm.core import events
from realm.core.events import Appraised, Event, StepTaken
from realm.evaluation.score import conditions
from realm.flows.context import Lab
from realm.flows.skills import enabled_skills
from realm.growth import rituals, rules
from realm.growth.blessing import Appraisal, appraise
from realm.growth.rituals import HealthFacts
from realm.growth.rules import Stretch
from realm.jobs.tail import EventTail
from realm.ledger.evaluations import LevelResult
from realm.ledger.records import CheckpointRecord
from realm.skills.skill import Skill


def appraise_run(lab: Lab, run: str) -> None:
    """Appraise what a run saved, where it was evaluated and nobody has done so yet."""
    known = set(appraisals(lab))
    saved = lab.ledger.checkpoints.list(lab.campaign, lab.hero_name)
    found = evaluated(lab, saved)
    own = [(before, after) for before, after in _neighbours(saved) if after.run == run]
    seen = tuple(EventTail(lab.home.events(run)).read()) if own else ()
    for before, after in own:
        if after.hash in known or after.hash not in found:
            continue
        told = appraise_stretch(lab, before, after, found[after.hash], seen)
        if told is not None:
            lab.emit(told)


def appraisals(lab: Lab) -> dict[str, Appraised]:
    """Return what was told of each checkpoint (content hash)."""
    kept = (event for _, _, event in lab.ledger.events.list(["appraised"]))
    return {event.hash: event for event in kept if isinstance(event, Appraised)}


def stretches(lab: Lab, saved: Sequence[CheckpointRecord]) -> Iterator[Stretch]:
    """Yield the training between neighbouring checkpoints of the hero, with what the later one is worth."""
    found, told = evaluated(lab, saved), appraisals(lab)
    for before, after in _neighbours(saved):
        loss = after.stats.get("loss")
        if loss is not None and after.hero_step > before.hero_step:
            factor = told[after.hash].factor if after.hash in told else 1.0
            yield Stretch(
                steps=after.hero_step - before.hero_step,
                loss=loss,
                quality=found[after.hash].quality if after.hash in found else None,
                health=factor,
            )


def _neighbours(
    saved: Sequence[CheckpointRecord],
) -> Iterator[tuple[CheckpointRecord, CheckpointRecord]]:
    """Yield each two checkpoints between which the hero trained: none goes on from a damaged one."""
    return pairwise(each for each in saved if not each.damage)


class Measured(NamedTuple):
    """A checkpoint's newest evaluation at a level, and its quality."""

    evaluation: LevelResult
    quality: float | None
    """None for a skill the hero has no longer."""


def evaluated(lab: Lab, saved: Sequence[CheckpointRecord]) -> dict[str, Measured]:
    """Return what was measured of each checkpoint, by content hash, in the order saved.

    The trend is against the last checkpoint before it that was asked the same, in the same way.
    """
    newest: dict[str, LevelResult] = {}
    for evaluation in lab.ledger.evaluations.levels(lab.campaign, lab.hero_name):
        newest.setdefault(evaluation.checkpoint, evaluation)
    skills = {name: lab.skill(name) for name in lab.hero.skills}
    found: dict[str, Measured] = {}
    before: dict[tuple[str, ...], LevelResult] = {}
    for record in saved:
        if (answered := newest.get(record.hash)) is not None:
            asked = asked_as(answered)
            quality = _quality(skills.get(answered.skill), answered, before.get(asked))
            found[record.hash] = Measured(answered, quality)
            before[asked] = answered
    return found


def asked_as(evaluation: LevelResult) -> tuple[str, ...]:
    """Return what was asked and how; evaluations that differ here are not compared."""
    return (evaluation.suite, *conditions(evaluation.context).values())


def _quality(skill: Skill | None, evaluation: LevelResult, before: LevelResult | None) -> float | None:
    accuracy = evaluation.accuracy
    if accuracy is None or skill is None:
        return None
    trend = 0.0
    if before is not None and before.accuracy is not None:
        trend = accuracy - before.accuracy
    primitives = len(skill.level(evaluation.level).primitives)
    return rules.quality(accuracy, len(evaluation.primitives) / primitives, trend)


def appraise_stretch(
    lab: Lab,
    before: CheckpointRecord,
    after: CheckpointRecord,
    measured: Measured,
    seen: Sequence[Event],
) -> Appraised | None:
    """Return what the training between two saves was worth, by the events that were seen of its run.

    None where the later one has no quality.
    """
    loss = after.stats.get("loss")
    if measured.quality is None or loss is None or not enabled_skills(lab):
        return None
    stretch = Stretch(steps=max(0, after.hero_step - before.hero_step), loss=loss, quality=measured.quality)
    health = rituals.examine(_facts(lab, before, after, measured.evaluation, seen), lab.config.health)
    judged: Appraisal = appraise(rules.effort(stretch), measured.quality, health)
    return Appraised(
        checkpoint=after.name,
        hash=after.hash,
        hero_step=after.hero_step,
        effort=judged.effort,
        quality=judged.quality,
        factor=judged.factor,
        experience=judged.experience,
        verdict=judged.verdict,
        checks=tuple((c.id, c.status, c.details, c.remedy) for c in health.checks),
        unknown=health.unknown,
    )


def _facts(
    lab: Lab,
    before: CheckpointRecord,
    after: CheckpointRecord,
    evaluation: LevelResult,
    seen: Sequence[Event],
) -> HealthFacts:
    """Return what the events of the run and of the lab tell of the steps between two saves."""
    steps = [
        event
        for event in seen
        if isinstance(event, StepTaken) and before.hero_step < event.hero_step <= after.hero_step
    ]
    first = steps[0].step if steps else 0
    within = [event for event in seen if first <= getattr(event, "step", -1) <= after.step]
    norms = [step.gradient_norm for step in steps if math.isfinite(step.gradient_norm)]
    kept = [event for _, _, event in lab.ledger.events.list(["drift_measured"])]
    drifts = [event.score for event in kept if isinstance(event, events.DriftMeasured)]
    # A stall is about the machine.
    raised = [e for e in within if isinstance(e, events.AlertRaised) and e.alert != "stall"]
    validation = [e for e in within if isinstance(e, events.ValidationMeasured) and "held-out" in e.losses]
    return HealthFacts(
        steps=len(steps) or after.hero_step - before.hero_step,
        steps_not_finite=sum(not math.isfinite(step.loss) for step in steps),
        masking_proven=not steps or any(isinstance(event, events.MaskingProven) for event in seen),
        asked=evaluation.problems or evaluation.total,
        answered=evaluation.total,
        # It was loaded to be evaluated, and only verified files are.
        checkpoint_verified=True,
        gradient_median=median(norms) if norms else None,
        gradient_highest=max(norms, default=None),
        rollbacks=sum(isinstance(event, events.RolledBack) for event in within) if steps else None,
        alerts=len(raised) if steps else None,
        training_loss=after.stats.get("loss"),
        validation_loss=validation[-1].losses["held-out"] if validation else None,
        drift=drifts[-1] if drifts else None,
    )
