"""Mistakes of a tiny hero, from the question to the run on them; and rows that it finds hard."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from realm import Realm
from realm.cli.main import run
from realm.core.records import ArtifactKind, Priority
from realm.corpus.dataset import read_examples
from realm.corpus.examining.leakage import eval_hashes
from realm.evaluation.mining import MiningConfig
from realm.flows.checking import context_of
from realm.flows.mining import queue_mining
from realm.flows.plan import RunPlan
from realm.flows.skills import skill_state, store_skill_state
from realm.flows.sparring import queue_sparring
from realm.jobs.queue import Job, JobState
from realm.models import correction
from realm.skills.curriculum import SkillState
from tiny_lab import FILE_RECIPE, carried_out_here, chat_rows, make_lab, realm, realm_json, trained_here


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, one_launcher: None) -> Path:
    """Return a lab that has trained on one file; its runs save at their end alone."""
    rarely = FILE_RECIPE.replace("every_steps: 10", "every_steps: 100")
    home = make_lab(tmp_path_factory.mktemp("sparring") / "home", drills=False, file_recipe=rarely)
    recipe = home / "recipes" / "spark.yaml"
    recipe.write_text(recipe.read_text().replace("every_steps: 4", "every_steps: 100"))
    (home / "chats.jsonl").write_text(chat_rows(20))
    assert trained_here(home, home / "chats.jsonl").state is JobState.DONE
    return home


def command_json(home: Path, capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    """Run one command with --json here: what it has to carry out shares the launcher of this process."""
    capsys.readouterr()
    code = run(["--home", str(home), "--json", *words])
    told = capsys.readouterr()
    assert code == 0, told.err
    return json.loads(told.out)


def mined_here(home: Path, **config: float) -> Job:
    """Mine in this process; the command then tells what came of it."""
    return carried_out_here(
        home, lambda lab: queue_mining(lab, "mixed rows.jsonl", None, MiningConfig(**config))
    )


def test_every_wrong_answer_becomes_three_rows_and_a_run_of_high_priority(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    done = command_json(home, capsys, "skill", "spar", "bin", "--problems", "10", "--untargeted")
    assert done["job"]["state"] == "done"
    [sparred] = done["sparred"]
    assert 0 < sparred["wrong"] <= sparred["asked"] == 10
    assert sparred["rows"] == 3 * sparred["wrong"]
    [run] = done["runs"]
    assert (run["state"], run["priority"]) == ("queued", "high")
    with Realm(home) as lab:
        record = lab.lab.ledger.datasets.get(sparred["dataset"])
        assert (record.spec, record.rows) == ("self_correction_v1", sparred["rows"])
        rows = list(read_examples(lab.lab.store.verified(ArtifactKind.DATASET, record.hash)))
        hashes = context_of(lab.lab).eval_hashes
        plan = RunPlan.of(lab.lab.ledger.runs.get(run["id"]))
        beside = lab.lab.ledger.datasets.get(plan.rows[1].dataset)
    assert (plan.rows[0].dataset, plan.made_with is not None) == (record.hash, True)
    assert (beside.source, beside.rows) == ("skill:bin", 6 * record.rows)
    problems = [correction.read(row.messages[-2].content).problem for row in rows]  # type: ignore[union-attr]
    assert eval_hashes(iter(problems)).isdisjoint(hashes)
    assert {row.tags["type"] for row in rows} == set(correction.TYPES)
    again = realm_json(home, "skill", "spar", "bin", "--problems", "10", "--untargeted")
    assert again["job"] == done["job"]
    assert len(realm_json(home, "queue", "list")) == len(
        {job["id"] for job in realm_json(home, "queue", "list")}
    )


def test_rows_of_an_older_checkpoint_are_dropped_and_the_next_ones_are_trained(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = command_json(home, capsys, "skill", "spar", "bin", "--problems", "11", "--untargeted")
    # What was queued before it was trained first, so this one was done with what came of that.
    assert before["sparred"][0]["asked"] == 11
    assert before["runs"][0]["state"] == "queued"
    rows = home / "more.jsonl"
    rows.write_text(chat_rows(20))
    with Realm(home) as lab:
        first = lab.lab.queue.get(before["runs"][0]["id"])
        lab.lab.queue.move(first.id, Priority.LOW)
    assert trained_here(home, rows).state is JobState.DONE
    states = {job["id"]: job for job in realm_json(home, "queue", "list")}
    stale = states[before["runs"][0]["id"]]
    assert stale["state"] == "dropped"
    assert "has been saved since" in stale["reason"]
    words = ("skill", "spar", "bin", "--problems", "8", "--untargeted", "--train")
    trained = command_json(home, capsys, *words)
    assert [run["state"] for run in trained["runs"]] == ["done"]
    shown = realm_json(home, "run", "show", trained["runs"][0]["id"])
    assert shown["checkpoints"]


def test_targeted_sparring_asks_weak_primitives_alone(home: Path) -> None:
    with Realm(home) as lab:
        weak = {"bitwise_xor": 0.9, "bitwise_and": 0.05}
        state: SkillState = skill_state(lab.lab, "bin").model_copy(update={"weakness": weak})
        fence = lab.lab.ledger.fences.take("test")
        store_skill_state(lab.lab, "bin", state, fence)
    # Done here and told by the command: what takes long is to import torch in a process of its own.
    job = carried_out_here(home, lambda lab: queue_sparring(lab, "bin", problems=10, targeted=True))
    done = realm_json(home, "skill", "spar", "bin", "--problems", "10", "--targeted")
    assert done["job"]["id"] == job.id
    assert [name for name, _, _ in done["sparred"][0]["weakest"]] == ["bitwise_xor"]


def test_an_unknown_skill_and_a_hero_without_checkpoints_are_refused(home: Path, tmp_path: Path) -> None:
    done = realm(home, "skill", "spar", "chess")
    assert done.returncode == 3
    assert "there are: bin" in done.stderr
    fresh = make_lab(tmp_path / "fresh", drills=False)
    done = realm(fresh, "skill", "spar")
    assert done.returncode == 1
    assert "no checkpoint yet" in done.stderr


def test_hard_rows_become_a_dataset(home: Path) -> None:
    odd = {
        "messages": [
            {"role": "user", "content": "What is 3?"},
            {"role": "assistant", "content": "zyxw vuts rqpo"},
        ]
    }
    (home / "mixed rows.jsonl").write_text(chat_rows(60) + json.dumps(odd) + "\n")
    assert trained_here(home, home / "mixed rows.jsonl").state is JobState.DONE
    job = mined_here(home, share=0.1, noise_share=0.0)
    done = realm_json(home, "data", "mine", "mixed rows.jsonl", "--share", "0.1", "--noise", "0")
    assert (done["job"]["id"], done["job"]["state"]) == (job.id, "done"), done
    found = done["dataset"]
    assert (found["name"], found["rows"]) == ("mixed rows-hard", 6)
    with Realm(home) as lab:
        rows = list(read_examples(lab.lab.store.verified(ArtifactKind.DATASET, found["hash"])))
    assert "zyxw vuts rqpo" in {row.messages[-1].content for row in rows}
    mined_here(home, share=0.1, noise_share=0.02)
    without = realm_json(home, "data", "mine", "mixed rows.jsonl", "--share", "0.1", "--noise", "0.02")
    with Realm(home) as lab:
        rows = list(read_examples(lab.lab.store.verified(ArtifactKind.DATASET, without["dataset"]["hash"])))
    assert "zyxw vuts rqpo" not in {row.messages[-1].content for row in rows}
    mined_here(home, share=0.3, noise_share=0.02)
    told = realm(home, "data", "mine", "mixed rows.jsonl", "--share", "0.3").stdout
    assert "train on it: realm train 'mixed rows-hard'" in told
    assert realm(home, "data", "mine", "nothing").returncode == 3


def test_the_same_from_python(home: Path) -> None:
    with Realm(home) as lab:
        job = lab.spar("bin", problems=12, targeted=False)
        assert job.state.value == "done"
        assert "of 12 wrong" in job.reason
        assert lab.mine("mixed rows.jsonl").reason.startswith("12 hard rows of 61")
        weakest = lab.report("bin")[0].primitives[0]
        assert weakest.primitive in {primitive.name for primitive in lab.skill("bin").primitives()}
        assert [each.skill for each in lab.curriculum().skills] == ["bin"]
