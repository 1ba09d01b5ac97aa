"""What one attempt of a run's process leaves to the next: its previews, and where to go back to."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from realm import Realm
from realm.core.errors import ChildDiedError
from realm.core.events import CheckpointStaged, Event, PreviewWritten
from realm.core.records import ArtifactKind
from realm.flows import watching
from realm.flows.checkpoints import publish_checkpoint
from realm.flows.children import Supervisor
from realm.flows.context import Lab
from realm.flows.plan import RunPlan
from realm.flows.train import plan_training
from realm.flows.training import _back
from realm.flows.watching import RunWatch
from realm.jobs.children import WarmLauncher
from realm.ledger.records import CheckpointRecord, RunRecord
from realm.training.previews import PreviewJob
from tiny_lab import FILE_RECIPE, chat_rows, make_lab

PREVIEWS = FILE_RECIPE + "  watch: {previews: {prompts: ['What is 3?'], made_by: checkpoint}}\n"


class Slow(Supervisor):
    """Makes previews without a process, each in a while."""

    def __init__(self, lab: Lab) -> None:
        super().__init__(lab, WarmLauncher(()))
        self.making: set[int] = set()
        self.beside = 0
        """The most that were made at a time."""

    async def follow(
        self, entry: str, spec: BaseModel, run: str, *, on_event: Callable[[Event], None], **more: Any
    ) -> None:
        assert isinstance(spec, PreviewJob)
        self.making.add(spec.step)
        self.beside = max(self.beside, len(self.making))
        try:
            await asyncio.sleep(0.02)
        finally:
            self.making.discard(spec.step)
        on_event(PreviewWritten(run=spec.run, step=spec.step, samples=(), source="none"))


@pytest.fixture
def slow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Slow]:
    monkeypatch.setattr(watching, "verified_checkpoint", lambda lab, checkpoint: "nowhere")
    home = make_lab(tmp_path / "home", drills=False, file_recipe=PREVIEWS)
    (home / "chats.jsonl").write_text(chat_rows(8))
    with Realm(home) as realm:
        plan_training(realm.lab, str(home / "chats.jsonl"))
        yield Slow(realm.lab)


def _told(supervisor: Supervisor) -> list[int]:
    """Return the steps of which previews were told."""
    events = (event for _, _, event in supervisor.lab.ledger.events.list())
    return [event.step for event in events if isinstance(event, PreviewWritten)]


def _run(supervisor: Supervisor) -> RunRecord:
    return supervisor.lab.ledger.runs.get("run-0001")


def _saved(step: int) -> CheckpointRecord:
    return CheckpointRecord(
        id=step, campaign="c", hero="dio", sequence=step, name=f"step-{step}", hash="sha256:" + "0" * 64,
        size_bytes=1, run="run-0001", step=step, hero_step=step, stats={}, pinned=False,
        created_at=datetime.now(UTC),
    )  # fmt: skip


def test_previews_of_a_process_that_died_are_told_once_and_before_the_next(slow: Slow) -> None:
    async def attempt(*steps: int, dies: bool) -> None:
        async with RunWatch(slow, _run(slow)) as watch:
            for step in steps:
                watch.saved(_saved(step))
                await asyncio.sleep(0)
            if dies:
                raise ChildDiedError("it was killed")

    async def both() -> None:
        with pytest.raises(ChildDiedError):
            await attempt(20, 40, dies=True)
        assert len(asyncio.all_tasks()) == 1
        assert _told(slow) == [20, 40]
        await attempt(60, dies=False)

    asyncio.run(both())
    assert _told(slow) == [20, 40, 60]
    assert slow.beside == 1


def test_a_run_that_is_broken_off_takes_its_previews_along(slow: Slow) -> None:
    async def attempt() -> None:
        async with RunWatch(slow, _run(slow)) as watch:
            watch.saved(_saved(20))
            await asyncio.sleep(60)

    async def broken_off() -> None:
        task = asyncio.create_task(attempt())
        while not slow.making:
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(broken_off())
    assert not slow.making
    assert _told(slow) == []


def test_a_run_that_was_stopped_between_saves_goes_back_to_the_regular_one(slow: Slow) -> None:
    lab, run, plan = slow.lab, _run(slow), RunPlan.of(_run(slow))
    stopped = _publish(lab, 7)
    assert _back(lab, run, plan, stopped, "where it began") == "where it began"
    regular = _publish(lab, 10)
    assert _back(lab, run, plan, regular, "where it began") is None
    stopped, folder = _publish(lab, 13), lab.store.path(ArtifactKind.CHECKPOINT, regular.hash)
    assert _back(lab, run, plan, stopped, "where it began") == str(folder)
    assert _back(lab, run, plan, stopped.model_copy(update={"run": "run-0000"}), "where it began") is None
    (folder / "weights").chmod(0o644)
    (folder / "weights").write_text("damaged")
    assert _back(lab, run, plan, stopped, "where it began") is None


def _publish(lab: Lab, step: int) -> CheckpointRecord:
    """Publish a checkpoint of the run, which saves every 10 steps."""
    stage = lab.store.stage(ArtifactKind.CHECKPOINT)
    (stage / "weights").write_text(str(step))
    staged = CheckpointStaged(
        run="run-0001", stage=str(stage), step=step, hero_step=step, stats={}, final=False
    )
    return publish_checkpoint(lab, staged, run="run-0001", fence=lab.ledger.fences.take("run/run-0001"))
