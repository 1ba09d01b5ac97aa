"""Generate drills for the level a hero trains at, and queue them."""

from __future__ import annotations

import logging
from pathlib import Path

from realm.core.records import Example, Priority, Record
from realm.core.seeds import rng, seed
from realm.corpus.dataset import DatasetInfo, write_examples
from realm.flows.context import Lab
from realm.flows.datasets import publish_dataset
from realm.flows.runs import DRILL, queue_run
from realm.flows.skills import drilled_skills, skill_state
from realm.jobs.queue import Job
from realm.ledger.records import DatasetRecord
from realm.skills.curriculum.mixing import drill_weights, mix, standing
from realm.skills.curriculum.strategies import spread

log = logging.getLogger(__name__)


class Drill(Record):
    """The rows of one skill in one round, before they are generated."""

    skill: str
    """As the hero's config calls it."""
    level: int
    """The training level."""
    rows: dict[int, int]
    """By level."""
    weights: dict[int, dict[str, float]]
    """Of the primitives, by level."""

    @property
    def count(self) -> int:
        return sum(self.rows.values())

    @property
    def title(self) -> str:
        return f"{self.skill} level {self.level} drills"


def next_drills(lab: Lab) -> list[Drill]:
    """Return what would be drilled next: one dataset a skill, in the order of their runs.

    A round has `drills.rows` rows for each skill that is drilled; the strategy spreads them.
    """
    curriculum = lab.config.curriculum
    states = {name: skill_state(lab, name) for name in drilled_skills(lab)}
    standings = [standing(curriculum, lab.skill(name), name, state) for name, state in states.items()]
    total = lab.config.drills.rows * len(states)
    shares = spread(curriculum.strategy, standings, total)
    return [drill_of(lab, name, count) for name, count in shares.items()]


def drill_of(lab: Lab, name: str, count: int) -> Drill:
    """Return so many rows of one skill, spread over levels and primitives as its state asks for."""
    skill, state, curriculum = lab.skill(name), skill_state(lab, name), lab.config.curriculum
    rows = mix(curriculum, skill, state, count)
    weights = {level: drill_weights(curriculum, skill, state, level) for level in rows}
    return Drill(skill=name, level=state.training_level, rows=rows, weights=weights)


def queue_drills(lab: Lab) -> list[Job]:
    """Generate one dataset per enabled skill of the hero and queue a run on each.

    A skill without a training problem at these levels gets none, with a warning.
    """
    jobs = []
    for drill in next_drills(lab):
        draw = drill_seed(lab, drill.skill)
        if rows := drill_rows(lab, drill, draw):
            jobs.append(queue_rows(lab, drill, draw, rows))
        else:
            log.warning("%s: there are no problems to train on", drill.title)
    return jobs


def drill_seed(lab: Lab, skill: str) -> int:
    """Return the seed of a skill's next drills: another after every run on drills in this campaign."""
    index = len(drill_runs(lab))
    return seed("drills", lab.campaign, lab.hero_name, lab.hero.seed, skill, index)


def drill_runs(lab: Lab) -> list[str]:
    """Return the hero's runs on drills in this campaign, oldest first."""
    return [
        run.id
        for run in reversed(lab.ledger.runs.list())
        if (run.campaign, run.hero, run.spec["source"]) == (lab.campaign, lab.hero_name, DRILL)
    ]


def drill_rows(lab: Lab, drill: Drill, draw: int) -> list[Example]:
    """Generate the rows of a drill in the order in which they are trained."""
    skill = lab.skill(drill.skill)
    rows = [
        problem.example(skill.name)
        for level, count in sorted(drill.rows.items())
        for problem in skill.drills(level, count, weights=drill.weights[level], seed=draw)
    ]
    rng("drill order", draw).shuffle(rows)
    return rows


def queue_rows(lab: Lab, drill: Drill, draw: int, rows: list[Example]) -> Job:
    """Publish rows of a drill, all or the first of them, and queue a run on them."""
    dataset = publish_rows(lab, drill, draw, rows)
    return queue_run(lab, dataset, title=drill.title, source=DRILL, priority=Priority.LOW)


def publish_rows(lab: Lab, drill: Drill, draw: int, rows: list[Example]) -> DatasetRecord:
    """Publish rows of a drill as a dataset."""
    skill = lab.skill(drill.skill)
    generator = {
        "generator_id": skill.name,
        "generator_version": skill.version,
        "example_count": len(rows),
        "params": {
            "levels": {str(level): count for level, count in drill.rows.items()},
            "seed": draw,
            "config": lab.hero.skills[drill.skill].model_dump(mode="json"),
        },
    }

    def write(stage: Path) -> DatasetInfo:
        return write_examples(rows, stage, name=drill.title, spec="chat_sft_v1", generator=generator)

    return publish_dataset(lab, write, source=f"skill:{drill.skill}")
