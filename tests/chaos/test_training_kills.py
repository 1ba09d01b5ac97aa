"""Kill a real lab - worker, child, both - and compare its end with an undisturbed one.

A lab raises a tiny hero on drills for three runs. It is killed with SIGKILL right after chosen
events (a step, a staged checkpoint, graded answers, a start), some milliseconds later, so that the
kill falls into steps, saves, publications, evaluations and the moments between them.
"""

from __future__ import annotations

import subprocess
import time
from collections import Counter
from pathlib import Path

import pytest
from lab_kills import VICTIMS, kill

from realm import Realm
from realm.core.events import Event, StepTaken
from realm.core.records import ArtifactKind
from realm.core.seeds import rng
from realm.jobs.tail import EventTail
from tiny_lab import lab_up, make_lab

pytestmark = pytest.mark.chaos

KILLS = 24
RUNS = 3
SAVE_EVERY = 4
TRIGGERS = (
    "step_taken",
    "checkpoint_staged",
    "answers_graded",
    "run_started",
    "run_finished",
    "masking_proven",
)


def finished(home: Path) -> bool:
    with Realm(home) as realm:
        done = [run.id for run in realm.runs() if run.outcome == "done"]
        jobs = {job.id: job.state.value for job in realm.jobs()}
        return len(done) >= RUNS and all(jobs[f"run-{n:04d}"] == "done" for n in range(1, RUNS + 1))


def wait_until_finished(home: Path, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 240
    while not finished(home):
        assert process.poll() is None, (home / "up.log").read_text()[-2000:]
        assert time.monotonic() < deadline, (home / "up.log").read_text()[-2000:]
        time.sleep(0.2)


def newest_events(home: Path, offsets: dict[Path, int]) -> list[str]:
    """Return the kinds of the events that were written since the last look."""
    kinds = []
    for path in sorted((home / ".realm" / "runs").glob("run-*/events.jsonl")):
        tail = EventTail(path, offsets.get(path, 0))
        kinds += [event.kind for event in tail.read()]
        offsets[path] = tail.offset
    return kinds


def facts(home: Path) -> dict[str, object]:
    """Return everything that must not depend on kills: weights, answers, skill states."""
    with Realm(home) as realm:
        wanted = {f"run-{n:04d}" for n in range(1, RUNS + 1)}
        saved = [c for c in realm.checkpoints() if c.run in wanted and c.step % SAVE_EVERY == 0]
        for checkpoint in realm.checkpoints():
            realm.lab.store.verified(ArtifactKind.CHECKPOINT, checkpoint.hash)
        return {
            "checkpoints": [(c.run, c.step, c.hero_step, c.hash) for c in saved],
            "answers": {
                (e.hero_step, e.suite): [
                    (r.key, r.answer) for r in realm.lab.ledger.evaluations.results(e.id)
                ]
                for e in realm.evaluations()
                if e.checkpoint in {c.hash for c in saved}
            },
            "datasets": [run.dataset for run in realm.runs() if run.id in wanted],
        }


def steps_taken(home: Path) -> Counter[tuple[str, int]]:
    events: list[Event] = []
    for path in (home / ".realm" / "runs").glob("run-*/events.jsonl"):
        events += EventTail(path).read()
    return Counter((event.run, event.step) for event in events if isinstance(event, StepTaken))


def test_a_killed_lab_ends_with_the_bytes_of_an_undisturbed_one(tmp_path: Path) -> None:
    undisturbed = make_lab(tmp_path / "undisturbed", drills=True)
    with lab_up(undisturbed) as process:
        wait_until_finished(undisturbed, process)

    killed = make_lab(tmp_path / "killed", drills=True)
    kills, points, draw = 0, Counter[str](), rng("training kills", 1)
    while kills < KILLS:
        victim, trigger = draw.choice(VICTIMS), draw.choice(TRIGGERS)
        offsets: dict[Path, int] = {}
        newest_events(killed, offsets)
        with lab_up(killed) as process:
            patience = time.monotonic() + 60
            while trigger not in (kinds := newest_events(killed, offsets)):
                assert process.poll() is None, (killed / "up.log").read_text()[-2000:]
                if time.monotonic() > patience or len(realm_runs(killed)) > 40:
                    break
                time.sleep(0.002)
            time.sleep(draw.random() * 0.06)
            if trigger in kinds and kill(process, victim):
                kills += 1
                points[f"{victim} after {trigger}"] += 1
            if victim == "child":
                time.sleep(0.5)  # the worker starts it again by itself
        assert_nothing_half_made(killed)
    with lab_up(killed) as process:
        wait_until_finished(killed, process)

    print(f"\n{kills} kills: {dict(points)}")
    assert facts(killed) == facts(undisturbed)
    repeated = sum(times - 1 for times in steps_taken(killed).values())
    print(f"{repeated} steps were taken again over {kills} kills, at most {SAVE_EVERY} each")
    assert repeated <= kills * SAVE_EVERY


def realm_runs(home: Path) -> list[Path]:
    return list((home / ".realm" / "runs").glob("run-*"))


def assert_nothing_half_made(home: Path) -> None:
    """Every checkpoint the ledger lists is whole, whatever was killed."""
    with Realm(home) as realm:
        for checkpoint in realm.checkpoints():
            realm.lab.store.verified(ArtifactKind.CHECKPOINT, checkpoint.hash)
