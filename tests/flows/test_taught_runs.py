"""Runs that learn from a served teacher: which rows it answers, and what a refusal leaves behind."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from realm import Realm
from realm.core.errors import ConfigError, DataError, NotFoundError, UnavailableError
from realm.core.records import ArtifactKind
from realm.corpus.dataset import read_examples
from realm.flows.context import Lab
from realm.flows.drills import queue_drills
from realm.flows.intake import add_file, register_file, take_file
from realm.flows.plan import PlannedRows, RunPlan
from realm.flows.reconcile import reconcile
from realm.flows.train import plan_training
from realm.jobs.queue import Job
from tiny_endpoint import Endpoint, served
from tiny_lab import carried_out_here, chat_rows, drop, make_lab

ROWS = 8


@pytest.fixture
def sage() -> Iterator[Endpoint]:
    with served(lambda asked: f"sage: {asked['messages'][-1]['content']}") as endpoint:
        yield endpoint


def home(path: Path, url: str) -> Path:
    """Make a lab with a recipe `taught` that also draws from and is validated on datasets of their own."""
    made = make_lab(path, drills=False)
    taught = {
        "extends": "study",
        "method": {
            "kind": "distillation",
            "teacher": {"kind": "endpoint", "url": url, "model": "sage", "attempts": 1},
        },
        "rules": {"steps": 2},
    }
    both = {
        "extends": "taught",
        "where": {"datasets": [{"dataset": "beside.jsonl"}], "validation": {"sets": ["judged.jsonl"]}},
    }
    for name, recipe in {"taught": taught, "both": both}.items():
        (made / "recipes" / f"{name}.yaml").write_text(yaml.safe_dump(recipe))
    for name in ("main", "beside", "judged"):
        text = chat_rows(ROWS).replace("What is", f"For {name}, what is")
        (made / f"{name}.jsonl").write_text(text)
    return made


def last_turns(lab: Lab, rows: PlannedRows) -> list[str]:
    folder = lab.store.verified(ArtifactKind.DATASET, rows.dataset)
    return [row.messages[-1].content for row in read_examples(folder)]


def plan_of(lab: Lab, job: Job) -> RunPlan:
    return RunPlan.of(lab.ledger.runs.get(job.id))


def nothing_is_owed(lab: Lab) -> bool:
    return reconcile(lab).requeued == () and lab.ledger.runs.list() == [] and lab.queue.list() == []


def test_what_a_refused_command_named_is_never_trained(tmp_path: Path) -> None:
    with Realm(home(tmp_path / "lab", "http://127.0.0.1:1/v1")) as realm:
        lab = realm.lab
        with pytest.raises(NotFoundError, match="bogus"):
            plan_training(lab, str(lab.home.root / "main.jsonl"), recipe="bogus")
        assert lab.ledger.datasets.list() == []
        with pytest.raises(UnavailableError, match="the teacher"):
            plan_training(lab, str(lab.home.root / "main.jsonl"), recipe="taught")
        assert nothing_is_owed(lab)


def test_every_dataset_of_a_run_is_answered_by_its_teacher(sage: Endpoint, tmp_path: Path) -> None:
    with Realm(home(tmp_path / "lab", sage.url)) as realm:
        lab, root = realm.lab, realm.lab.home.root
        for name in ("beside", "judged"):
            register_file(lab, root / f"{name}.jsonl")
        job = plan_training(lab, str(root / "main.jsonl"), recipe="both")
        plan, run = plan_of(lab, job), lab.ledger.runs.get(job.id)
        found = [last_turns(lab, rows) for rows in (*plan.rows, *plan.validation)]
        for name, said in zip(("main", "beside", "judged"), found, strict=True):
            assert len(said) == ROWS
            assert all(text.startswith(f"sage: For {name}") for text in said)
        assert lab.ledger.datasets.get(run.dataset).name == "main.jsonl"
        assert [rows.name for rows in plan.rows] == [
            "main.jsonl, answered by sage",
            "beside.jsonl, answered by sage",
        ]
        asked = len(sage.asked)
        assert reconcile(lab).requeued == ()
        assert (len(lab.ledger.runs.list()), len(sage.asked)) == (1, asked)


def test_a_dropped_file_is_answered_and_has_one_run(sage: Endpoint, tmp_path: Path) -> None:
    folder = home(tmp_path / "lab", sage.url)
    config = folder / "realm.yaml"
    whole = yaml.safe_load(config.read_text())
    for hero in whole["heroes"].values():
        hero["file_recipe"] = "taught"
    config.write_text(yaml.safe_dump(whole))
    with Realm(folder) as realm:
        lab = realm.lab
        for _ in range(2):
            drop(folder, "main.jsonl", (folder / "main.jsonl").read_text())
            job = take_file(lab, folder / "inbox" / "main.jsonl")
        [said] = [last_turns(lab, rows) for rows in plan_of(lab, job).rows]
        assert all(text.startswith("sage: ") for text in said)
        assert [run.id for run in lab.ledger.runs.list()] == [job.id]
        (folder / "text.jsonl").write_text(json.dumps({"text": "It asks nothing."}) + "\n")
        with pytest.raises(DataError, match=r"^text\.jsonl:1: a text asks nothing"):
            add_file(lab, folder / "text.jsonl")


def test_generated_rows_keep_their_own_answers(sage: Endpoint, tmp_path: Path) -> None:
    folder = home(tmp_path / "lab", sage.url)
    config = folder / "realm.yaml"
    whole = yaml.safe_load(config.read_text())
    for hero in whole["heroes"].values():
        hero["recipe"] = "taught"
    config.write_text(yaml.safe_dump(whole))
    with Realm(folder) as realm, pytest.raises(ConfigError, match="recipe taught: a served teacher answers"):
        queue_drills(realm.lab)
    assert sage.asked == []


def test_a_hero_learns_a_served_teachers_words(sage: Endpoint, tmp_path: Path) -> None:
    folder = home(tmp_path / "lab", sage.url)

    def queue(lab: Lab) -> Job:
        for name in ("beside", "judged"):
            register_file(lab, folder / f"{name}.jsonl")
        return plan_training(lab, str(folder / "main.jsonl"), recipe="both")

    job = carried_out_here(folder, queue)
    assert job.state == "done", job.reason
