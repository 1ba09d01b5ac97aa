"""What the lab does now, and where its hero stands. Reads only; every figure was measured."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from realm.core.events import Interval
from realm.core.records import Record
from realm.corpus.source import kind_name
from realm.evaluation.intervals import wilson
from realm.flows.appraisal import stretches
from realm.flows.context import Lab
from realm.flows.control import waiting_for
from realm.flows.holding import quarantine_of
from realm.flows.runs import TRAIN
from realm.flows.skills import LeftOut, parted, skill_state, usable_skills
from realm.flows.sources import configured
from realm.growth import rules
from realm.growth.rules import Facts, HeroSheet, SkillFacts
from realm.jobs.queue import Job, JobState
from realm.ledger.records import LEVEL, CheckpointRecord, RunRecord
from realm.storage.lock import Holder, holder


class SkillStatus(Record):
    """Where the hero stands in one skill."""

    name: str
    mastered_level: int
    """0 while none is."""
    training_level: int
    streak: int
    needed: int
    """Consecutive passes that master a level."""
    newest: Interval | None
    """Pooled score of the newest evaluation at the training level."""
    too_small: tuple[int, ...]
    """Levels below the first that can be tested."""


class SourceStatus(Record):
    """A source, and what was collected of it."""

    name: str
    kind: str
    collected_at: datetime | None
    """When something new was last collected; None for never."""
    waiting: int
    """Documents that wait for `realm data review`."""


class Status(Record):
    """One look at a lab."""

    name: str
    home: str
    campaign: str
    hero: str
    holder: Holder | None
    """The process that runs the lab; None when it is down."""
    queue: dict[str, int]
    """Jobs by state."""
    working_on: Job | None
    """The job that is being carried out."""
    running: RunRecord | None
    """Its run, where it trains."""
    failed: tuple[Job, ...]
    waiting_for: str
    """What a person has to do before drills go on; empty when nothing."""
    champion: str | None
    checkpoints: int
    latest: CheckpointRecord | None
    skills: tuple[SkillStatus, ...]
    left_out: tuple[LeftOut, ...]
    """Skills of which no level can be mastered."""
    sources: tuple[SourceStatus, ...]


def status(lab: Lab) -> Status:
    """Look at the whole lab once."""
    jobs, held_by = lab.queue.list(), holder(lab.home.root)
    working_on = next((job for job in jobs if job.state is JobState.RUNNING), None)
    trains = working_on is not None and working_on.kind == TRAIN
    champion = lab.ledger.models.champion(lab.campaign, lab.hero_name)
    skills = parted(lab, lab.hero.skills)
    return Status(
        name=lab.config.name,
        home=str(lab.home.root),
        campaign=lab.campaign,
        hero=lab.hero_name,
        holder=held_by,
        queue={state.value: sum(job.state is state for job in jobs) for state in JobState},
        working_on=working_on,
        running=lab.ledger.runs.get(working_on.id) if working_on and trains else None,
        failed=tuple(job for job in jobs if job.state is JobState.FAILED),
        waiting_for=waiting_for(lab) if held_by else "",
        champion=champion.model.name if champion else None,
        checkpoints=lab.ledger.checkpoints.count(lab.campaign, lab.hero_name),
        latest=lab.ledger.checkpoints.latest(lab.campaign, lab.hero_name),
        skills=tuple(_skill(lab, name) for name in skills.usable),
        left_out=skills.left_out,
        sources=tuple(_sources(lab)),
    )


def _sources(lab: Lab) -> Iterator[SourceStatus]:
    """Yield the sources that the lab knows, and those of `realm.yaml` that nobody has collected yet."""
    quarantine = quarantine_of(lab)
    newest = {record.source: record.created_at for record in lab.ledger.sources.collections()}
    kinds = {config.name: kind_name(config) for config in configured(lab)}
    kinds.update({record.name: record.kind for record in lab.ledger.sources.list()})
    for name, kind in sorted(kinds.items()):
        waiting = len(quarantine.waiting(name))
        yield SourceStatus(name=name, kind=kind, collected_at=newest.get(name), waiting=waiting)


def _skill(lab: Lab, name: str) -> SkillStatus:
    state = skill_state(lab, name)
    newest = lab.ledger.evaluations.newest(
        lab.campaign, lab.hero_name, skill=name, kind=LEVEL, level=state.training_level
    )
    return SkillStatus(
        name=name,
        mastered_level=state.mastered_level,
        training_level=state.training_level,
        streak=state.streak,
        needed=lab.config.curriculum.evaluations,
        newest=wilson(newest.correct, newest.total) if newest else None,
        too_small=tuple(n for n in lab.skill(name).level_numbers() if n < state.start_level),
    )


def sheet(lab: Lab) -> HeroSheet:
    """Return the hero's sheet, computed from what the ledger holds."""
    saved = lab.ledger.checkpoints.list(lab.campaign, lab.hero_name)
    latest = lab.ledger.checkpoints.latest(lab.campaign, lab.hero_name)
    evaluations = lab.ledger.evaluations.levels(lab.campaign, lab.hero_name)
    order = {checkpoint.hash: checkpoint.sequence for checkpoint in saved}
    newest = max(evaluations, key=lambda each: (order[each.checkpoint], each.id), default=None)
    return rules.sheet(
        Facts(
            hero_step=latest.hero_step if latest else 0,
            loss=latest.stats.get("loss") if latest else None,
            validation_loss=newest.loss if newest else None,
            accuracy=(newest.correct, newest.total) if newest else None,
            correct_answers=sum(e.correct for e in evaluations),
            stretches=tuple(stretches(lab, saved)),
            skills=tuple(_skill_facts(lab, name) for name in usable_skills(lab, lab.hero.skills)),
        )
    )


def _skill_facts(lab: Lab, name: str) -> SkillFacts:
    state = skill_state(lab, name)
    return SkillFacts(
        skill=name,
        mastered_level=state.mastered_level,
        training_level=state.training_level,
        streak=state.streak,
    )
