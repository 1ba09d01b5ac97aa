"""Checkpoints that are measured at an endpoint: stored as what they were, compared under their own names."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from realm import Realm
from realm.core.errors import RefusedError
from realm.core.events import AnswersGraded, Graded
from realm.core.hashing import hash_bytes
from realm.evaluation.comparison import compare
from realm.evaluation.task import TASKS, Elsewhere
from realm.flows import suites
from realm.flows.evaluation import Answers, _store
from realm.flows.examination import Asked
from realm.flows.suites import ask
from realm.flows.transfer import transferred
from realm.ledger.records import NewCheckpoint
from tiny_lab import make_lab
from tiny_model_list import Models, models_served


@pytest.fixture
def home(tmp_path: Path) -> Path:
    home = make_lab(tmp_path / "home", drills=False)
    (home / "suites").mkdir()
    with Realm(home) as lab:
        for step in (11, 12):
            new = {"campaign": "first", "hero": "dio", "size_bytes": 1, "step": step, "hero_step": step}
            saved = NewCheckpoint(hash=hash_bytes(b"%d" % step), **new)  # type: ignore[arg-type]
            lab.lab.ledger.checkpoints.add(saved, None)
    return home


@pytest.fixture
def endpoint() -> Iterator[Models]:
    with models_served(("dio@11", "dio@12")) as found:
        yield found


@pytest.fixture
def lab(home: Path) -> Iterator[Realm]:
    with Realm(home) as lab:
        yield lab


def named(lab: Realm, url: str, model: str, **changes: Any) -> Asked:
    """Set the suite's file to a model's name and ask that model."""
    task = {"kind": "harness", "url": url, "model": model, "benchmarks": ["sums", "facts"], **changes}
    suite = {"name": "own", "tasks": [{"name": "known", "task": task}]}
    (lab.lab.home.suites / "own.yaml").write_text(yaml.safe_dump(suite))
    return ask(lab.lab, model, "own")


def measured(lab: Realm, asked: Asked, score: float) -> None:
    """Store what the evaluating process tells, without the program that it starts."""
    [part] = asked.parts
    task = TASKS.build(part.task)
    assert isinstance(task, Elsewhere)
    found = Answers()
    found.add(
        AnswersGraded(
            run="r",
            checkpoint=asked.checkpoint.hash,
            suite=part.id,
            results=tuple(
                Graded(key=p.key, primitive=p.primitive, score=score, answer=json.dumps("so"))
                for p in part.problems
            ),
            loss=0.0,
            loss_tokens=0,
            context=task.asked_elsewhere(),
            done=2,
            total=2,
            seconds=1.0,
        )
    )
    _store(lab.lab, asked.checkpoint, {part.id: part}, lab.lab.ledger.fences.take("test"), part.id, found)


def test_two_checkpoints_are_compared_under_the_names_they_are_served_by(
    lab: Realm, endpoint: Models
) -> None:
    first = named(lab, endpoint.url, "dio@11")
    measured(lab, first, 0.5)
    second = named(lab, endpoint.url, "dio@12", timeout_s=60)
    measured(lab, second, 0.8)
    found = suites.compare(lab.lab, first, second)
    assert found.labels == ("model: dio@11 and dio@12",)
    assert (found.overall.before, found.overall.after) == (pytest.approx(0.5), pytest.approx(0.8))
    assert transferred(lab.lab, [(first, second)]).report.rows[0].difference.problems == 2
    one = suites.evaluated(lab.lab, second)
    assert one.score.composite.mean == pytest.approx(0.8)
    [context] = one.contexts
    assert (context["profile"], context["sampling"], context["model"]) == (
        "the endpoint's",
        "greedy",
        "dio@12",
    )


def test_one_pair_of_figures_says_nothing_of_the_difference(lab: Realm, endpoint: Models) -> None:
    first = named(lab, endpoint.url, "dio@11")
    measured(lab, first, 0.5)
    second = named(lab, endpoint.url, "dio@12")
    measured(lab, second, 0.8)
    pairs, _ = suites.paired(lab.lab, first, second)
    found = compare("one", pairs["known"][:1])
    assert (found.problems, found.low, found.high) == (1, -1.0, 1.0)


def test_another_address_keeps_two_apart(lab: Realm, endpoint: Models) -> None:
    first = named(lab, endpoint.url, "dio@11")
    measured(lab, first, 0.5)
    with models_served(("dio@12",)) as elsewhere:
        second = named(lab, elsewhere.url, "dio@12")
        measured(lab, second, 0.8)
    assert [part.id for part in first.parts] == [part.id for part in second.parts]
    with pytest.raises(RefusedError, match=r"url: http://127\.0\.0\.1:\d+/v1 and http"):
        suites.compare(lab.lab, first, second)


def test_a_corrected_address_is_another_job(lab: Realm, endpoint: Models) -> None:
    wrong = named(lab, "http://127.0.0.1:1/v1", "dio@11")
    right = named(lab, endpoint.url, "dio@11")
    assert wrong.job_id != right.job_id == named(lab, endpoint.url, "dio@11").job_id
