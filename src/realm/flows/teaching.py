"""Let a served teacher answer a dataset before a run learns from the answers.

Done here, where the network and the teacher's key are; the training process has neither.
"""

from __future__ import annotations

from pathlib import Path
from typing import cast

from realm.core.errors import DataError
from realm.core.records import ArtifactKind, Example
from realm.corpus.dataset import DatasetInfo, write_examples
from realm.flows.context import Lab
from realm.flows.datasets import publish_dataset
from realm.ledger.records import DatasetRecord
from realm.training.recipe import Recipe
from realm.training.teacher import TEACHERS, Answered, Writer, fetch_answers


def with_answers(lab: Lab, recipe: Recipe, dataset: DatasetRecord) -> DatasetRecord:
    """Return the dataset with a served teacher's answers, or as it is where none is asked for.

    Answers are kept as they come: a call that was cut off goes on where it stood. Raises DataError
    where not one row was answered.
    """
    settings = getattr(recipe.method, "teacher", None)
    if settings is None or TEACHERS.load(settings.kind).token_level:
        return dataset
    teacher = TEACHERS.build(settings)
    source = lab.store.verified(ArtifactKind.DATASET, dataset.hash) / "rows.jsonl"
    with source.open("rb") as file:
        rows = [Example.model_validate_json(line) for line in file]
    answered = fetch_answers(cast("Writer", teacher), rows, lab.home.cache / "teacher")
    if not answered.rows:
        raise DataError("the teacher has answered no row whole", file=dataset.name)
    return _publish(lab, dataset, answered, settings.model_dump(mode="json"))


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
