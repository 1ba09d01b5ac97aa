"""Suites in a lab: asked of every checkpoint once, by priority; compared where both were measured alike."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import yaml

from realm import Realm
from realm.core.errors import RefusedError, StateError
from realm.core.events import AnswersGraded, Event
from realm.core.records import Priority
from realm.flows import suites
from realm.flows.calibration import of_evaluations
from realm.flows.examination import EVALUATE, queue
from realm.flows.judging import Case
from realm.flows.skills import skill_state, store_skill_state
from realm.flows.suites import ask, begin, evaluated, finish
from realm.jobs.queue import JobState
from tiny_lab import chat_rows, make_lab

SUITE = {
    "name": "own",
    "tasks": [
        {
            "name": "facts",
            "category": "facts",
            "task": {"kind": "file", "path": "facts.jsonl", "grader": "text"},
        },
        {"name": "drilled", "category": "bits", "drilled": {"rungs": 1}, "max_tokens": 4},
    ],
}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, one_launcher: None) -> Path:
    """A lab that has trained on one file, with a suite of its own asked after the run."""
    home = make_lab(tmp_path_factory.mktemp("lab") / "home", drills=False)
    (home / "suites").mkdir()
    (home / "suites" / "own.yaml").write_text(yaml.safe_dump(SUITE))
    rows = [{"prompt": f"What is {n}?", "expected": f"{n} is {n * n}."} for n in range(8)]
    (home / "suites" / "facts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    config = home / "realm.yaml"
    config.write_text(config.read_text() + "\nevaluation: {suites: [own]}\n")
    (home.parent / "mine.jsonl").write_text(chat_rows(80))
    meanwhile = Thread(target=ask_the_base, args=(home,))

    def over() -> bool:
        if not lab.lab.queue.idle():
            return False
        if not meanwhile.ident:
            meanwhile.start()
        return not meanwhile.is_alive()

    with Realm(home) as lab:
        lab.add(home.parent / "mine.jsonl")
        lab.up(over)
    meanwhile.join()
    return home


FOLLOWED: list[Event] = []


def ask_the_base(home: Path) -> None:
    """Ask the suite of the untrained hero while the lab is up: the lab answers, this one follows it."""
    with Realm(home) as beside:
        beside.attach(FOLLOWED.append)
        job = begin(beside.lab, ask(beside.lab, "dio@0", "own", risk=0.0))
        assert job is not None
        assert begin(beside.lab, ask(beside.lab, "dio@0", "own", risk=0.0)) is not None  # the same one
        finish(beside.lab, job)


@pytest.fixture
def lab(home: Path) -> Iterator[Realm]:
    with Realm(home) as lab:
        yield lab


def test_every_checkpoint_of_a_run_answers_the_configured_suite_once(lab: Realm) -> None:
    saved = [c for c in lab.checkpoints() if c.run is not None]
    assert len(saved) == 2
    jobs = [job for job in lab.jobs() if job.kind == EVALUATE and job.priority is Priority.LOW]
    assert [job.state for job in jobs] == [JobState.DONE] * 2
    own = {c.hash for c in saved}
    found = [e for e in lab.evaluations() if e.kind != "level" and e.checkpoint in own]
    assert Counter((e.checkpoint, e.kind) for e in found) == {
        (c.hash, k): 1 for c in saved for k in ("file", "skill")
    }
    first_level = [e.id for e in lab.evaluations() if e.kind == "level"]
    assert max(first_level) < min(e.id for e in found)


def test_an_answer_is_kept_with_how_it_was_measured(lab: Realm) -> None:
    [facts, *_] = [e for e in lab.evaluations() if e.kind == "file" and not e.verdict]
    assert (facts.total, facts.problems, facts.verdict, facts.skill) == (5, 5, "", "facts")
    assert {"backend", "template", "sampling", "seed", "max_tokens", "code_version", "profile"} <= set(
        facts.context
    )
    results = lab.lab.ledger.evaluations.results(facts.id)
    assert len({result.key for result in results}) == 5
    assert all(result.score in (0.0, 1.0) and result.score == result.correct for result in results)
    assert any(result.answer for result in results)
    assert all(result.confidence is not None and 0 <= result.confidence <= 1 for result in results)
    assert len({result.confidence for result in results}) > 1
    found = of_evaluations(lab.lab, [facts.id])
    assert found is not None
    assert found.answers == 5
    bits = next(e for e in lab.evaluations() if e.kind == "skill" and not e.verdict)
    assert bits.context["max_tokens"] == "4"


def test_the_heros_own_figures_come_from_the_curriculum_alone(lab: Realm) -> None:
    levels = [e for e in lab.evaluations() if e.kind == "level"]
    assert lab.sheet().accuracy == levels[0].accuracy
    assert lab.sheet().correct_answers == sum(e.correct for e in levels)


def test_what_is_answered_is_not_asked_again(lab: Realm) -> None:
    asked = ask(lab.lab, "dio@latest", "own")
    assert asked.complete
    assert begin(lab.lab, asked) is None
    found = evaluated(lab.lab, asked)
    assert [task.name for task in found.score.tasks] == ["facts", "bin"]
    assert len(found.contexts) == 2  # another room for answers
    early = ask(lab.lab, "dio@latest", "own", risk=0.0)
    assert early.complete  # the whole is better than its beginning


def test_the_lab_that_is_up_answers_first_what_is_asked_by_hand_and_ends_early_when_told(lab: Realm) -> None:
    asked = ask(lab.lab, "dio@0", "own", risk=0.0)
    [job] = [job for job in lab.jobs() if job.priority is Priority.HIGH]
    assert (job.id, job.state) == (asked.job_id, JobState.DONE)
    found = evaluated(lab.lab, asked)
    assert found.score.passed is False
    assert found.score.early
    assert found.score.composite.asked < found.score.composite.problems
    graded = [event for event in FOLLOWED if isinstance(event, AnswersGraded)]
    assert any("fails for certain" in event.verdict for event in graded)
    whole = ask(lab.lab, "dio@0", "own")
    assert not whole.complete  # nothing that ended early is taken for the whole
    cut = [e for e in lab.evaluations() if e.verdict]
    assert all(e.total < e.problems for e in cut)
    with pytest.raises(StateError, match="answered 0 of 2"):
        suites.compare(lab.lab, whole, ask(lab.lab, "dio@latest", "own"))


def test_the_status_tells_of_a_job_that_does_not_train(lab: Realm) -> None:
    asked = ask(lab.lab, "dio@0", "own")
    job = queue(lab.lab, asked, Priority.NORMAL)
    lab.lab.queue.claim("somebody", 1)
    found = lab.status()
    lab.drop(job.id, "it was only looked at")
    assert found.working_on is not None
    assert (found.working_on.id, found.working_on.title) == (job.id, job.title)
    assert found.running is None


def test_two_models_are_compared_on_the_same_problems(lab: Realm) -> None:
    first, last = (ask(lab.lab, f"dio@{c.hero_step}", "own") for c in lab.checkpoints() if c.run is not None)
    found = suites.compare(lab.lab, first, last)
    assert [task.name for task in found.tasks] == ["facts", "bin"]
    assert found.overall.problems == sum(task.problems for task in found.tasks)
    assert found.overall.low <= found.overall.difference <= found.overall.high
    assert found.labels == ()


def test_models_that_were_measured_otherwise_are_not_compared(
    lab: Realm, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, last = (ask(lab.lab, f"dio@{c.hero_step}", "own") for c in lab.checkpoints() if c.run is not None)
    _set_context(lab, last.checkpoint.hash, template="another", code_version="9")
    with pytest.raises(RefusedError, match=r"template: sha256:[0-9a-f]{64} and another"):
        suites.compare(lab.lab, first, last)
    _set_context(lab, last.checkpoint.hash, template=None, code_version="9")
    assert suites.compare(lab.lab, first, last).labels == ("code_version: 0.1.0 and 9",)


def _set_context(lab: Realm, checkpoint: str, **changes: Any) -> None:
    """Change what the ledger says of how a checkpoint was measured; None: as the first one."""
    from sqlalchemy import select

    from realm.ledger.tables import Evaluation

    first = next(e for e in lab.evaluations()[::-1] if e.kind == "file")
    changes = {name: value or first.context[name] for name, value in changes.items()}
    with lab.lab.ledger.evaluations._database.writing() as session:
        for row in session.scalars(select(Evaluation).where(Evaluation.checkpoint == checkpoint)):
            row.context = {**row.context, **changes}


def test_the_gate_asks_model_and_champion_what_they_have_not_answered(lab: Realm) -> None:
    state = skill_state(lab.lab, "bin")
    level = state.start_level
    mastered = {"mastered_level": level, "training_level": level + 1}
    store_skill_state(lab.lab, "bin", state.model_copy(update=mastered), None)
    base, models = lab.checkpoint("dio@0"), lab.lab.ledger.models
    registered = models.register("first", "dio", base.hash, scores={}, fence=None)
    models.promote(registered.name, expected_revision=0, decision={"mastered": {"bin": level}}, fence=None)
    case = Case(lab.lab, "dio@latest")
    assert case.missing == len(case.suites[0].problems)  # what the run has saved was examined at this level
    job = case.begin()
    assert job is not None
    finish(lab.lab, job)
    assert Case(lab.lab, "dio@latest").begin() is None
    decision = case.judged().decision
    checks = {check.name: check for check in decision.checks}
    assert not decision.passed
    assert checks["comparable"].passed
    assert not checks["calibration"].skipped
    assert checks["champion"].figures["problems"] == len(case.suites[0].problems)
    assert len(models.promotions("first", "dio")) == 1
