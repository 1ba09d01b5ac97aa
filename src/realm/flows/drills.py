"""Generate drills for the level a hero trains at, and queue them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from realm.core.records import Example, Priority
from realm.core.seeds import rng, seed
from realm.corpus.dataset import DatasetInfo, write_examples
from realm.flows.context import Lab
from realm.flows.datasets import publish_dataset
from realm.flows.runs import DRILL, queue_run
from realm.flows.skills import skill_state
from realm.jobs.queue import Job
from realm.skills.curriculum import drill_weights, mix


def queue_drills(lab: Lab) -> list[Job]:
    """Generate one dataset per skill of the hero and queue a run on each."""
    return [_queue(lab, name) for name in lab.hero.skills]


def _queue(lab: Lab, name: str) -> Job:
    skill, state, curriculum = lab.skill(name), skill_state(lab, name), lab.config.curriculum
    index = sum(run.spec["source"] == DRILL and run.hero == lab.hero_name for run in lab.ledger.runs.list())
    draw = seed("drills", lab.campaign, lab.hero_name, lab.hero.seed, name, index)
    rows_per_level = mix(curriculum, skill, state, lab.config.drills.rows)
    generator = {
        "generator_id": skill.name,
        "generator_version": skill.version,
        "example_count": lab.config.drills.rows,
        "params": {
            "levels": {str(level): rows for level, rows in rows_per_level.items()},
            "seed": draw,
            "config": lab.hero.skills[name].model_dump(mode="json"),
        },
    }

    def examples() -> Iterator[Example]:
        rows = [
            problem.example(skill.name)
            for level, count in sorted(rows_per_level.items())
            for problem in skill.drills(
                level, count, weights=drill_weights(curriculum, skill, state, level), seed=draw
            )
        ]
        rng("drill order", draw).shuffle(rows)
        yield from rows

    title = f"{name} level {state.training_level} drills"

    def write(stage: Path) -> DatasetInfo:
        return write_examples(examples(), stage, name=title, spec="chat_sft_v1", generator=generator)

    dataset = publish_dataset(lab, write, source=f"skill:{name}")
    return queue_run(lab, dataset, title=title, source=DRILL, priority=Priority.LOW)
