"""Let a served teacher answer a dataset before a run learns from the answers.

Done here, where the network and the teacher's key are; the training process has neither.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from realm.core.errors import ConfigError, DataError
from realm.core.records import ArtifactKind, Example
from realm.corpus.dataset import DatasetInfo, write_examples
from realm.flows.context import Lab
from realm.flows.datasets import publish_dataset
from realm.ledger.records import DatasetRecord
from realm.training.recipe import Recipe, Resolved
from realm.training.teacher import TEACHERS, Answered, Writer, fetch_answers


def with_answers(lab: Lab, recipe: Recipe, dataset: DatasetRecord) -> DatasetRecord:
    """Return the dataset with a served teacher's answers, or as it is where none is asked for.

    Answers are kept as they come: a call that was cut off goes on where it stood. Raises DataError for
    a row that asks nothing and where not one was answered, and what the teacher raises.
    """
    settings = served(recipe)
    if settings is None:
        return dataset
    teacher = TEACHERS.build(settings)
    source = lab.store.verified(ArtifactKind.DATASET, dataset.hash) / "rows.jsonl"
    with source.open("rb") as file:
        rows = [Example.model_validate_json(line) for line in file]
    answered = fetch_answers(cast("Writer", teacher), rows, lab.home.cache / "teacher", file=dataset.name)
    if not answered.rows:
        raise DataError("the teacher has answered no row whole", file=dataset.name)
    return _publish(lab, dataset, answered, settings.model_dump(mode="json"))


def refuse_served(resolved: Resolved) -> None:
    """Raise ConfigError where a recipe for generated rows, which hold right answers, names such a teacher."""
    if served(resolved.recipe) is not None:
        raise ConfigError(
            f"recipe {resolved.name}: a served teacher answers files and datasets, not generated rows",
            hint="name it in a recipe for `realm train`, or in the hero's file_recipe",
        )


def served(recipe: Recipe) -> Any:
    """Return the settings of a teacher that is asked before the run."""
    settings = getattr(recipe.method, "teacher", None)
    return None if settings is None or TEACHERS.load(settings.kind).token_level else settings


def _publish(
    lab: Lab, dataset: DatasetRecord, answered: Answered, teacher: dict[str, object]
) -> DatasetRecord:
    name = f"{dataset.name}, answered by {answered.rows[0].tags['teacher']}"
    generator = {
        "generator_id": "teacher",
        "generator_version": "1",
        "example_count": len(answered.rows),
        "params": {"teacher": teacher, "rows": dataset.hash, "dropped": answered.dropped},
    }

    def write(stage: Path) -> DatasetInfo:
        return write_examples(answered.rows, stage, name=name, spec="chat_sft_v1", generator=generator)

    return publish_dataset(lab, write, source=f"teacher:{dataset.hash}")
