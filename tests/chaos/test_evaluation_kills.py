"""Kill a real lab in the middle of answering a suite, and compare with one that nobody disturbs.

The lab answers a suite of several parts, some of them several batches long, for two checkpoints. It is
killed with SIGKILL when the child is about to load the model, and some milliseconds after batches of
answers. A child that was killed is started again by its worker, a worker by `realm up`.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from lab_kills import VICTIMS, Victim, kill, newest_child

from realm import Realm
from realm.core.events import AnswersGraded
from realm.core.seeds import rng
from realm.flows.suites import ask, begin, evaluated
from realm.jobs.queue import JobState
from realm.jobs.tail import EventTail
from tiny_lab import chat_rows, job_state, lab_up, make_lab

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(900)]

KILLS = 9
MODELS = ("dio@0", "dio@latest")
SUITE: dict[str, Any] = {
    "name": "own",
    "size": "full",
    "tasks": [
        {"name": "drilled", "drilled": {"rungs": 3}, "max_tokens": 16},
        *(
            {
                "name": name,
                "task": {"kind": "file", "path": f"{name}.jsonl", "grader": "text", "everything": True},
                "max_tokens": 16,
            }
            for name in ("squares", "cubes", "sums")
        ),
    ],
}
Facts = dict[tuple[str, str], list[tuple[Any, ...]]]


@pytest.fixture
def homes(tmp_path: Path) -> tuple[Path, Path]:
    """Return two labs with the same trained hero, in which the same suite waits to be answered."""
    home = make_lab(tmp_path / "origin" / "home", drills=False)
    (home / "suites").mkdir()
    (home / "suites" / "own.yaml").write_text(yaml.safe_dump(SUITE))
    for power, task in enumerate(SUITE["tasks"][1:], start=2):
        rows = [{"prompt": f"What is {n}?", "expected": f"{n} is {n**power}."} for n in range(300)]
        path = home / "suites" / task["task"]["path"]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "mine.jsonl").write_text(chat_rows(80))
    with Realm(home) as lab:
        run = lab.add(tmp_path / "mine.jsonl")
        lab.up(lambda: job_state(lab, run.id) == "done")
    shutil.copytree(home, tmp_path / "killed" / "home")
    return home, tmp_path / "killed" / "home"


def queue_suite(home: Path) -> list[str]:
    with Realm(home) as lab:
        jobs = [begin(lab.lab, ask(lab.lab, model, "own")) for model in MODELS]
    return [job.id for job in jobs if job is not None]


def over(home: Path, jobs: list[str]) -> bool:
    with Realm(home) as lab:
        states = {job.id: job.state for job in lab.jobs()}
    return all(states[job] not in (JobState.QUEUED, JobState.RUNNING) for job in jobs)


def wait(home: Path, process: subprocess.Popen[bytes], reached: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not reached():
        log = (home / "up.log").read_text()[-2000:]
        assert process.poll() is None, log
        assert time.monotonic() < deadline, log
        time.sleep(0.005)


class Batches:
    """Counts the batches of answers that children have told, also those that nobody could store."""

    def __init__(self, home: Path, jobs: list[str]) -> None:
        self.jobs = jobs
        self._tails = [EventTail(home / ".realm" / "runs" / job / "events.jsonl") for job in jobs]
        self._count = 0
        self.within = False
        """Whether the last batch was not the last one of its part, so that it is stored with a later one."""

    def count(self) -> int:
        for event in (event for tail in self._tails for event in tail.read()):
            if isinstance(event, AnswersGraded):
                self._count, self.within = self._count + 1, event.done < event.total
        return self._count


def strike(
    home: Path,
    process: subprocess.Popen[bytes],
    batches: Batches,
    victim: Victim,
    more: int,
    delay_s: float,
) -> None:
    """Kill a moment after a child is there, or at once within a part, when so many more batches were told."""
    known = batches.count()
    wait(home, process, lambda: bool(newest_child(process)))
    wait(home, process, lambda: not more or (batches.count() >= known + more and batches.within))
    time.sleep(0 if more else delay_s)
    assert not over(home, batches.jobs), f"all was answered before {victim} was killed"
    assert kill(process, victim), "nobody was there to be killed"
    if victim != "child":
        process.wait()


def facts(home: Path) -> Facts:
    """Return every answer of every part, with all that was measured of it."""
    with Realm(home) as lab:
        found = lab.evaluations()
        parts: Facts = {}
        for evaluation in found:
            part = (evaluation.checkpoint, evaluation.suite)
            results = lab.lab.ledger.evaluations.results(evaluation.id)
            assert part not in parts, "a part was counted twice"
            assert evaluation.total == evaluation.problems == len({result.key for result in results})
            parts[part] = [(evaluation.loss, sorted(evaluation.context.items()))]
            parts[part] += [tuple(result.model_dump().values()) for result in results]
        return parts


def scores(home: Path) -> list[Any]:
    with Realm(home) as lab:
        return [evaluated(lab.lab, ask(lab.lab, model, "own")).score.model_dump() for model in MODELS]


def test_a_suite_is_answered_as_if_nobody_had_been_killed(homes: tuple[Path, Path]) -> None:
    undisturbed, killed = homes
    jobs = queue_suite(undisturbed)
    with lab_up(undisturbed) as process:
        wait(undisturbed, process, lambda: over(undisturbed, jobs))
    whole = Batches(undisturbed, jobs).count()

    jobs, points, draw = queue_suite(killed), Counter[str](), rng("evaluation kills", 1)
    batches = Batches(killed, jobs)
    order = [victim for _ in range(KILLS // 3) for victim in draw.sample(VICTIMS, 3)]
    while order:
        with lab_up(killed) as process:
            while order and process.poll() is None:
                victim, more = order.pop(0), draw.choice((0, 1, 1, 3))
                strike(killed, process, batches, victim, more, draw.random() * 0.2)
                points[f"{victim} after {more} more batches"] += 1
        facts(killed)  # nothing is half stored
    with lab_up(killed) as process:
        wait(killed, process, lambda: over(killed, jobs))

    print(f"\n{sum(points.values())} kills: {dict(points)}")
    print(f"{batches.count()} batches were told, {whole} in the undisturbed lab")
    assert batches.count() > whole, "no kill fell between two batches of a part"
    with Realm(killed) as lab:
        ended = {job.id: (job.state, job.history) for job in lab.jobs() if job.id in jobs}
        assert set(ended.values()) == {(JobState.DONE, ())}  # none had to be asked for again
        assert begin(lab.lab, ask(lab.lab, "dio@latest", "own")) is None  # nothing is missing
    assert facts(killed) == facts(undisturbed)
    assert scores(killed) == scores(undisturbed)
