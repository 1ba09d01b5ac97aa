"""What becomes of a run, and of the lab, where a checkpoint or a run's events are damaged."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from realm import Realm
from realm.core.errors import ChildDiedError, CorruptError, RealmError, StorageError
from realm.core.events import CheckpointSaved, CheckpointSetAside, Event, GateDecided, RunFinished, StepTaken
from realm.core.records import ArtifactKind, ArtifactRef
from realm.flows import promotion
from realm.flows.checking import context_of
from realm.flows.checkpoints import resolve, verified_checkpoint
from realm.flows.children import Supervisor
from realm.flows.context import Lab
from realm.flows.judging import Case
from realm.flows.reconcile import reconcile
from realm.flows.train import plan_training
from realm.flows.training import train_step
from realm.jobs import worker
from realm.jobs.queue import JobState
from realm.jobs.tail import EventLog
from realm.jobs.worker import StepContext
from realm.ledger.records import CheckpointRecord, NewCheckpoint
from realm.ledger.runs import Runs
from tiny_lab import carry_out_here, chat_rows, make_lab, realm_json, trained_here

ROWS = chat_rows(160)
"""Steps 1 to 40, of which every tenth is saved."""
WEIGHTS = "model.safetensors"


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    with Realm(make_lab(tmp_path / "home", drills=False)) as realm:
        yield realm.lab


def home_of(path: Path) -> Path:
    home = make_lab(path, drills=False)
    (home / "mine.jsonl").write_text(ROWS)
    return home


def folder_of(lab: Lab, checkpoint: CheckpointRecord) -> Path:
    return lab.store.path(ArtifactKind.CHECKPOINT, checkpoint.hash)


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.write_bytes(data)


def told(lab: Lab) -> list[CheckpointSetAside]:
    kept = [event for _, _, event in lab.ledger.events.list(["checkpoint_set_aside"])]
    return [event for event in kept if isinstance(event, CheckpointSetAside)]


def saved(lab: Lab, text: str, step: int) -> CheckpointRecord:
    """Publish a checkpoint that holds a few bytes."""
    stage = lab.store.stage(ArtifactKind.CHECKPOINT)
    (stage / WEIGHTS).write_text(text)

    def commit(ref: ArtifactRef) -> CheckpointRecord:
        new = NewCheckpoint(
            campaign=lab.campaign,
            hero=lab.hero_name,
            hash=ref.hash,
            size_bytes=ref.size_bytes,
            step=step,
            hero_step=step,
        )
        return lab.ledger.checkpoints.add(new, None)

    return lab.store.publish(stage, ArtifactKind.CHECKPOINT, commit)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a lab in which a run has saved four checkpoints."""
    home = home_of(tmp_path_factory.mktemp("undisturbed") / "home")
    assert trained_here(home, home / "mine.jsonl").state is JobState.DONE
    return home


def test_a_run_goes_on_from_its_last_intact_checkpoint_and_ends_as_undisturbed(
    undisturbed: Path, tmp_path: Path
) -> None:
    home = home_of(tmp_path / "home")
    with Realm(home) as realm:
        lab = realm.lab
        run = plan_training(lab, str(home / "mine.jsonl")).id

        damaged: list[CheckpointRecord] = []

        def die(event: Event) -> None:
            if isinstance(event, CheckpointSaved) and event.hero_step == 30 and not damaged:
                damaged.extend(lab.ledger.checkpoints.of_run(run)[1:])
                flip(folder_of(lab, damaged[0]) / WEIGHTS)
                (folder_of(lab, damaged[1]) / "training.json").unlink()
                raise ChildDiedError("its process was killed")
            if isinstance(event, CheckpointSaved) and event.hero_step == 40:
                flip(folder_of(lab, lab.ledger.checkpoints.of_run(run)[0]) / WEIGHTS)

        realm.attach(die)
        assert carry_out_here(lab, run).state is JobState.DONE

        thirty, twenty, ten = told(lab)
        assert [twenty.hash, thirty.hash] == [each.hash for each in damaged]
        assert twenty.damage.endswith("model.safetensors: its bytes do not match the manifest")
        assert thirty.damage.endswith("training.json: it is missing")
        assert twenty.consequence == f"{run} goes on from its step 10 ({ten.checkpoint})"
        assert thirty.consequence == twenty.consequence
        # That one was damaged in its turn, when nobody was to go on from it any more.
        assert ten.consequence == "it is not evaluated"
        again = lab.ledger.checkpoints.of_run(run)
        aside = (home / "vault" / "quarantine").glob("*/content/*")
        assert {path.name for path in aside} == {each.hash.removeprefix("sha256:") for each in told(lab)}
        # What was damaged is saved again, byte for byte, and so is the end.
        assert [each.hash for each in again[:2]] == [each.hash for each in damaged]
        assert realm.checkpoint("dio@latest") == again[-1]
    with Realm(undisturbed) as other:
        expected = [each.hash for each in other.checkpoints() if each.run == "run-0001"]
    assert [ten.hash, *(each.hash for each in again)] == expected


def test_a_new_run_begins_at_the_newest_intact_checkpoint(undisturbed: Path) -> None:
    home = undisturbed
    (home / "more.jsonl").write_text(chat_rows(8))
    with Realm(home) as realm:
        *_, thirty, forty = realm.checkpoints()
        flip(folder_of(realm.lab, forty) / WEIGHTS)
        # A check of rows counts tokens with the newest intact one, and moves nothing.
        assert context_of(realm.lab).count_tokens is not None
        assert told(realm.lab) == []
    assert trained_here(home, home / "more.jsonl").state is JobState.DONE
    with Realm(home) as realm:
        assert realm.lab.ledger.runs.get("run-0002").start == thirty.hash
        [event] = told(realm.lab)
        assert (event.checkpoint, event.consequence) == (forty.name, f"run-0002 begins at {thirty.name}")
        assert realm.checkpoint("dio@latest").run == "run-0002"
        with pytest.raises(CorruptError, match=f"{forty.name} is damaged: .*do not match") as caught:
            verified_checkpoint(realm.lab, realm.checkpoint(forty.hash))
        assert "restore" in caught.value.hint
        with pytest.raises(CorruptError, match=f"{forty.name} is damaged: "):
            Case(realm.lab, forty.hash)
    listed = {each["hash"]: each["damage"] for each in realm_json(home, "ledger", "list")}
    assert "do not match" in listed[forty.hash]
    assert [content for content, found in listed.items() if found] == [forty.hash]


def test_a_start_sets_aside_what_is_gone_and_takes_in_what_was_restored(lab: Lab) -> None:
    first, second, third = (saved(lab, str(step), step) for step in range(3))
    copy = lab.home.root / "copy"
    shutil.copytree(folder_of(lab, third), copy)
    place = folder_of(lab, third)
    shutil.rmtree(place)
    (folder_of(lab, second) / "manifest.json").write_text("{}")
    found = reconcile(lab)
    assert (set(found.set_aside), found.quarantined, found.missing) == ({second.name, third.name}, (), ())
    assert resolve(lab, "dio@latest") == first
    assert {event.consequence for event in told(lab)} == {f"the latest is {first.name}"}
    assert [path.name for path in (lab.store.vault / "quarantine").glob("*/content/*")] == [
        second.hash.removeprefix("sha256:")
    ]
    assert reconcile(lab).clean
    shutil.copytree(copy, place)
    assert reconcile(lab).restored == (third.name,)
    assert resolve(lab, "dio@latest") == third
    assert reconcile(lab).clean


def test_a_hero_without_any_intact_checkpoint_is_refused_once(lab: Lab) -> None:
    newest = [saved(lab, str(step), step) for step in range(2)][-1]
    plan_training(lab, rows_in(lab))
    for content in lab.store.hashes(ArtifactKind.CHECKPOINT):
        shutil.rmtree(lab.store.path(ArtifactKind.CHECKPOINT, content))
    job = carry_out_here(lab, "run-0001")
    assert job.state is JobState.FAILED
    assert f"no checkpoint of dio is intact; the newest, {newest.name}: " in job.reason
    assert "restore " in job.reason
    assert lab.ledger.runs.get("run-0001").outcome == "failed"


def rows_in(lab: Lab) -> str:
    path = lab.home.root / "mine.jsonl"
    path.write_text(chat_rows(8))
    return str(path)


def test_a_process_that_did_not_say_that_it_finished_is_started_again(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The event is lost once, and the disk is full when the run's end is to be recorded."""
    follow, end = Supervisor.follow, Runs.end
    entries: list[str] = []
    refused: list[str] = []

    async def deaf(self: Supervisor, entry: str, *args: Any, on_event: Any, **options: Any) -> None:
        entries.append(entry)

        def heard(event: Event) -> None:
            if not (isinstance(event, RunFinished) and entries.count(entry) == 1):
                on_event(event)

        await follow(self, entry, *args, on_event=heard, **options)

    def full(self: Runs, run: str, *args: Any) -> Any:
        if len(refused) < 3:
            refused.append(run)
            raise StorageError("the disk is full")
        return end(self, run, *args)

    monkeypatch.setattr(Supervisor, "follow", deaf)
    monkeypatch.setattr(Runs, "end", full)
    monkeypatch.setattr(worker, "RETRY_S", 0.01)
    run = plan_training(lab, rows_in(lab)).id
    assert carry_out_here(lab, run).state is JobState.DONE
    assert entries.count("realm.training.child:main") == 2
    found = lab.ledger.runs.get(run)
    assert (found.outcome, found.step, refused) == ("done", 2, [run] * 3)


class Ending:
    """A child that ends well after a while in which something happens."""

    def __init__(self, meanwhile: Callable[[], object]) -> None:
        self._meanwhile = meanwhile
        self._looks = 0
        self.killed = False

    def poll(self) -> int | None:
        self._looks += 1
        if self._looks == 2:
            self._meanwhile()
        return 0 if self._looks > 3 else None

    def kill(self) -> None:
        self.killed = True


@pytest.mark.parametrize("way", ["shortened", "removed"])
def test_a_process_whose_events_are_lost_is_ended(lab: Lab, way: str) -> None:
    path = lab.home.events("run-0001")
    step = StepTaken(
        run="run-0001",
        step=1,
        steps_total=3,
        hero_step=1,
        loss=1.0,
        gradient_norm=1.0,
        learning_rate=0.1,
        tokens=8,
        trained_tokens=8,
        seconds=0.1,
    )
    log = EventLog(path)
    log.emit(step)
    log.close()
    child = Ending(path.unlink if way == "removed" else lambda: path.write_bytes(b""))

    class Launcher:
        def launch(self, entry: str, spec: Path, log: Path) -> Ending:
            return child

    supervisor = Supervisor(lab, Launcher())  # type: ignore[arg-type]
    with pytest.raises(ChildDiedError, match=r"events\.jsonl was cut or removed") as caught:
        asyncio.run(supervisor.follow("a.b:c", step, "run-0001", on_event=lambda event: None))
    assert child.killed
    assert "realm queue retry run-0001" in caught.value.hint


def test_a_run_whose_failure_only_one_of_ledger_and_queue_knows(lab: Lab) -> None:
    saved(lab, "base", 0)
    run = plan_training(lab, rows_in(lab)).id
    job = lab.queue.claim("worker", 1)
    assert job is not None
    lab.queue.finish(run, job.attempt, JobState.FAILED, "the disk is full")
    assert reconcile(lab).ended == (run,)
    found = lab.ledger.runs.get(run)
    assert (found.outcome, found.reason) == ("failed", "the disk is full")
    assert reconcile(lab).clean
    # A kill between the two records of an end leaves the job running.
    with pytest.raises(RealmError, match="the disk is full"):
        asyncio.run(train_step(Supervisor(lab, None), StepContext(lab.queue, job)))  # type: ignore[arg-type]


def test_the_gate_says_that_a_damaged_champion_cannot_answer(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    champion, candidate = saved(lab, "champion", 0), saved(lab, "candidate", 1)
    model = lab.ledger.models.register("first", "dio", champion.hash, scores={}, fence=None)
    lab.ledger.models.promote(model.name, expected_revision=0, decision={}, fence=None)
    shutil.rmtree(folder_of(lab, champion))

    async def loaded(supervisor: Supervisor, run: str, judged: CheckpointRecord, *rest: object) -> None:
        verified_checkpoint(supervisor.lab, judged)

    monkeypatch.setattr(promotion, "evaluate", loaded)
    fence = lab.ledger.fences.take("run/run-0001")
    supervisor = Supervisor(lab, None)  # type: ignore[arg-type]
    assert asyncio.run(promotion.consider(supervisor, "run-0001", candidate, fence)) is None
    [(_, _, told)] = lab.ledger.events.list(["gate_decided"])
    assert isinstance(told, GateDecided)
    assert (told.checkpoint, told.passed) == (candidate.name, False)
    assert f"the champion cannot answer: {champion.name} is damaged: " in told.reasons[0]
    assert [each.name for each in lab.ledger.models.list()] == [model.name]
