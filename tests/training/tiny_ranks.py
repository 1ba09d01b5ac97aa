"""Runs that several ranks of a zygote train, without torchrun's agent."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from realm.core.events import Event, Failed
from realm.core.records import ArtifactKind
from realm.jobs.children import WarmLauncher
from realm.jobs.tail import EventTail
from realm.models.files import save
from realm.storage.store import Store
from realm.training.child import PRELOAD
from realm.training.job import TrainJob
from realm.training.rank import SPEC
from training import tiny_runs
from training.tiny_runs import drills, make_job, qwen3, stages, tokenizer

HERE = Path(__file__).parent
SMALL = {"batch_rows": 5, "steps": 6, "memory": {"tokens_at_once": 60}, "saving": {"every_steps": 2}}
"""Several packs a step, not as many on every rank; of 11 rows the third step has only one."""

IMPORTED = (*PRELOAD, "realm.training.agent", "realm.training.distributed", "torch.distributed.launcher.api")
"""What ranks and their agent need: imported once, not by every one of them."""


@contextmanager
def zygote() -> Iterator[WarmLauncher]:
    """Start children that find the modules of these tests."""
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(HERE), before]))
    launcher = WarmLauncher(IMPORTED)
    yield launcher
    launcher.close()
    if before is None:
        del os.environ["PYTHONPATH"]
    else:
        os.environ["PYTHONPATH"] = before


class Runs:
    """Runs of one model over the same rows, by any number of processes."""

    def __init__(self, folder: Path, warm: WarmLauncher) -> None:
        self.folder = folder
        self._warm = warm
        self._count = 0

    def job(self, **changes: Any) -> TrainJob:
        """Return the spec of a run whose base and stages lie side by side, as in a vault."""
        store = Store(self.folder / "vault")
        model = changes.pop("model", None) or qwen3()
        stage = store.stage(ArtifactKind.CHECKPOINT)
        save(model, tokenizer(), stage)
        base = store.publish(stage, ArtifactKind.CHECKPOINT, lambda ref: ref.hash)
        path = store.path(ArtifactKind.CHECKPOINT, base)
        made = make_job(self.folder, changes.pop("rows", None) or drills(11), **{**SMALL, **changes})
        return made.model_copy(
            update={"start": str(path), "origin": str(path), "base": base, "stages": str(path.parent)}
        )

    def alone(self, job: TrainJob) -> list[Event]:
        return tiny_runs.run(job)

    def together(self, job: TrainJob, ranks: int, strategy: str) -> list[Event]:
        """Train by ranks of a zygote; return the events."""
        events, told = self.ended(job, ranks, strategy)
        assert not told
        return events

    def ended(
        self, job: TrainJob, ranks: int, strategy: str, entry: str = "be_rank"
    ) -> tuple[list[Event], dict[int, Failed]]:
        """Train by ranks of a zygote; return the events, and how ranks failed."""
        specs = self.launch(entry, job, ranks, strategy)
        told = {
            rank: event
            for rank, spec in enumerate(specs)
            for event in EventTail(spec.with_name(f"rank-{rank}.jsonl")).read()
            if isinstance(event, Failed)
        }
        return EventTail(specs[0].with_name("events.jsonl")).read(), told

    def launch(self, entry: str, job: TrainJob, ranks: int, strategy: str) -> list[Path]:
        """Run an entry in every rank until all have ended; return the files they were told in."""
        self._count += 1
        folder = self.folder / f"ranks-{self._count}"
        folder.mkdir()
        job = spread(job, ranks, strategy).model_copy(update={"events": str(folder / "events.jsonl")})
        (folder / SPEC).write_text(job.model_dump_json())
        specs = [folder / f"{rank}.json" for rank in range(ranks)]
        for rank, spec in enumerate(specs):
            spec.write_text(json.dumps({"rank": rank, "ranks": ranks}))
        name = f"distributed_entries:{entry}"
        children = [self._warm.launch(name, spec, spec.with_suffix(".log")) for spec in specs]
        for child, spec in zip(children, specs, strict=True):
            assert asyncio.run(child.wait()) in (0, 1), spec.with_suffix(".log").read_text()
        return specs


def spread(job: TrainJob, ranks: int, strategy: str, **more: Any) -> TrainJob:
    """Return the job for several processes."""
    facts = job.model_dump(mode="json")
    facts["recipe"]["rules"]["launcher"] = {
        "kind": "torchrun",
        "processes": ranks,
        "strategy": strategy,
        **more,
    }
    return TrainJob.model_validate(facts)


def stage_at(events: Sequence[Event], step: int) -> Path:
    return next(Path(event.stage) for event in stages(events) if event.step == step)
