"""Datasets published straight into a lab, and models that were trained on them on paper."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from realm.core.records import Example, Message, Sha256
from realm.corpus.assembly.statistics import StatisticsCounter
from realm.corpus.dataset import DatasetInfo, RowWriter, program_version
from realm.corpus.document import Origin
from realm.corpus.lineage import LineageWriter
from realm.corpus.shaper import Row
from realm.flows.context import Lab
from realm.flows.datasets import publish_dataset
from realm.flows.runs import FILE, queue_run
from realm.ledger.records import CheckpointRecord, DatasetRecord, NewCheckpoint

SCRUB = {"clean": 9, "replaced": 1, "quarantined": 2, "versions": ["1"]}


def example(asked: str, said: str, **tags: str | int) -> Example:
    turns = (Message(role="user", content=asked), Message(role="assistant", content=said))
    return Example(messages=turns, tags=tags)


def preference(asked: str, better: str, worse: str) -> Example:
    return Example(messages=example(asked, better).messages, rejected=example(asked, worse).messages)


def chats(numbers: range) -> list[Example]:
    return [example(f"What is {n}?", f"It is {n * n}.") for n in numbers]


def rows(examples: Iterable[Example], **origin: Any) -> list[Row]:
    """Return rows with an origin in one file; `origin` sets further fields of it."""
    given = {"source": "made", "kind": "chat_jsonl", "path": "chat.jsonl", "licence": "MIT", **origin}
    return [
        Row(
            example=each,
            origin=Origin(**given, first_line=number),
            document=f"chat.jsonl#{number}",
            shaper="as_is@1",
            group=f"made/chat.jsonl#{number}",
        )
        for number, each in enumerate(examples, 1)
    ]


def publish(
    lab: Lab,
    rows: Iterable[Row],
    *,
    name: str = "mine",
    spec: str = "chat_sft_v1",
    scrub: dict[str, Any] | None = SCRUB,
    side: str = "train",
    collections: Iterable[str] = ("one",),
    **build: Any,
) -> DatasetRecord:
    """Publish rows as `realm data build` would; `build` holds further facts such as yields."""
    given, counter = list(rows), StatisticsCounter()
    for row in given:
        counter.add(row)
    statistics = counter.statistics().model_dump(mode="json")
    made = {"statistics": statistics, "collections": list(collections), "rig": None, "side": side, **build}

    def write(stage: Path) -> DatasetInfo:
        with ExitStack() as stack:
            writer = stack.enter_context(RowWriter(stage))
            lineage = stack.enter_context(LineageWriter(stage))
            for row in given:
                writer.write(row.example)
                lineage.add(row)
            info = DatasetInfo(
                name=name,
                spec=spec,
                rows=len(given),
                source=None,
                generator=None,
                scrub=scrub,
                build=made,
                created_by=program_version(),
            )
            return writer.finish(info)

    return publish_dataset(lab, write, source=f"build:{name}")


def trained(lab: Lab, dataset: DatasetRecord, start: Sha256 | None, number: int) -> CheckpointRecord:
    """Note a run on a dataset and the checkpoint that it saved; `number` tells checkpoints apart."""
    run = queue_run(lab, dataset, title=dataset.name, source=FILE).id
    fence = lab.ledger.fences.take(run)
    lab.ledger.runs.update(run, fence=fence, started_at=lab.clock(), start=start or born(lab).hash)
    return lab.ledger.checkpoints.add(_checkpoint(lab, run, number), fence)


def born(lab: Lab) -> CheckpointRecord:
    """Note the hero's step-0 checkpoint."""
    fence = lab.ledger.fences.take("birth")
    return lab.ledger.checkpoints.add(_checkpoint(lab, None, 0), fence)


def _checkpoint(lab: Lab, run: str | None, number: int) -> NewCheckpoint:
    return NewCheckpoint(
        campaign=lab.campaign,
        hero=lab.hero_name,
        hash=f"sha256:{number:064x}",
        size_bytes=1,
        run=run,
        step=number,
        hero_step=number,
    )
