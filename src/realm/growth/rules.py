"""A hero's sheet, computed from facts that the ledger holds.

Every figure was measured or is absent: what nobody measured is None, never a default.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import fsum
from typing import Annotated

from pydantic import Field

from realm.core.records import Record

STEPS_PER_LEVEL = 1000
"""Training steps over a hero's whole life that make one level."""
LOSS_FLOOR = 0.0
"""Loss in nats per trained token below which training is no strain."""

Share = Annotated[float, Field(ge=0, le=1)]


class Stretch(Record):
    """The training between two saved checkpoints, as the later one's statistics tell it."""

    steps: Annotated[int, Field(ge=0)]
    loss: Annotated[float, Field(ge=0)]
    """Mean over its steps, nats per trained token."""
    quality: Share | None
    """Of the later checkpoint; None where it was never evaluated."""
    health: Share = 1.0
    """Factor of the later checkpoint's health checks; 1 where none spoke against it."""


class SkillFacts(Record):
    """Where a hero stands in one skill; source: its skill state."""

    skill: str
    mastered_level: int
    training_level: int
    streak: int


class Facts(Record):
    """What the ledger knows of a hero."""

    hero_step: Annotated[int, Field(ge=0)]
    """Training steps over the whole life; source: newest checkpoint."""
    loss: float | None
    """Mean training loss at the newest save, nats per trained token; source: its statistics."""
    validation_loss: float | None
    """Loss of the right answers to held-out problems, nats per token; source: the newest evaluation."""
    accuracy: tuple[int, int] | None
    """(correct, total) of the newest evaluation, all primitives together."""
    correct_answers: Annotated[int, Field(ge=0)]
    """Right held-out answers in all evaluations together."""
    stretches: tuple[Stretch, ...]
    """The hero's training, oldest first."""
    skills: tuple[SkillFacts, ...]


class HeroSheet(Record):
    """A hero's figures as people see them; `core.lore` has the game's words."""

    level: int
    """Whole thousands of training steps."""
    progress: Share
    """Part of the way to the next level."""
    hero_step: int
    experience: float
    """Effort × quality × health over all evaluated stretches, nats · steps."""
    inverse_loss: float | None
    """1 / training loss."""
    inverse_validation_loss: float | None
    """1 / validation loss; None until something measures one."""
    accuracy: Share | None
    """Pooled share of right answers in the newest evaluation."""
    correct_answers: int
    skills: tuple[SkillFacts, ...]


def sheet(facts: Facts) -> HeroSheet:
    """Compute a hero's sheet."""
    level, rest = divmod(facts.hero_step, STEPS_PER_LEVEL)
    correct, total = facts.accuracy or (0, 0)
    return HeroSheet(
        level=level,
        progress=rest / STEPS_PER_LEVEL,
        hero_step=facts.hero_step,
        experience=experience(facts.stretches),
        inverse_loss=_inverse(facts.loss),
        inverse_validation_loss=_inverse(facts.validation_loss),
        accuracy=correct / total if total else None,
        correct_answers=facts.correct_answers,
        skills=facts.skills,
    )


def strain(loss: float, floor: float = LOSS_FLOOR) -> float:
    """Return how far one step's loss is above the floor, nats."""
    return max(0.0, loss - floor)


def effort(stretch: Stretch, floor: float = LOSS_FLOOR) -> float:
    """Return the strain summed over a stretch's steps; exact while no step is below the floor."""
    return stretch.steps * strain(stretch.loss, floor)


def effort_of(losses: Iterable[float], floor: float = LOSS_FLOOR) -> float:
    """Return the strain summed over steps whose losses are known one by one, nats · steps."""
    return fsum(strain(loss, floor) for loss in losses)


def experience(stretches: Sequence[Stretch], floor: float = LOSS_FLOOR) -> float:
    """Return effort × quality × health over the stretches that were evaluated."""
    return sum(effort(s, floor) * s.quality * s.health for s in stretches if s.quality is not None)


def quality(accuracy: float, coverage: float, trend: float) -> float:
    """Return a checkpoint's quality, 0 to 1: 0.6·accuracy + 0.2·coverage + 0.2·(trend+1)/2.

    `accuracy` and `coverage` (share of the level's primitives that were tested) are 0 to 1,
    `trend` (change of accuracy against the evaluation before, 0 for the first) is -1 to 1.
    """
    return 0.6 * accuracy + 0.2 * coverage + 0.2 * (trend + 1) / 2


def _inverse(loss: float | None) -> float | None:
    """Return 1 / loss; a loss of 0 has no inverse and is no measurement of anything learnt."""
    return 1 / loss if loss else None
