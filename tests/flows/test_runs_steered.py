"""Pause, resume, stop, and what happens when training itself goes wrong."""

from __future__ import annotations

from pathlib import Path

from realm import Realm
from realm.core.events import StepTaken
from realm.core.records import ArtifactKind
from realm.jobs.queue import Job, JobState
from tiny_lab import (
    FILE_RECIPE,
    chat_rows,
    drop,
    job_state,
    lab_up,
    make_lab,
    realm,
    realm_json,
    trained_here,
    wait_until,
)

ROWS = 6_000
"""Steps of milliseconds: a run has to last while two commands run on a busy machine."""
STEPS = ROWS // 4
LONG = FILE_RECIPE.replace("every_steps: 10", "every_steps: 1000")
assert LONG != FILE_RECIPE


def steps(lab: Realm, run: str = "run-0001") -> int:
    events = [event for event in lab.watch(run, follow=False) if isinstance(event, StepTaken)]
    return max((event.step for event in events), default=0)


def train_here(home: Path, rows: str, name: str = "mine.jsonl") -> Job:
    (home / name).write_text(rows)
    return trained_here(home, home / name)


def train_undisturbed(home: Path) -> str:
    assert train_here(home, chat_rows(ROWS)).state is JobState.DONE
    return last_of_run(home)


def last_of_run(home: Path) -> str:
    with Realm(home) as lab:
        checkpoint = lab.checkpoints()[-1]
        lab.lab.store.verified(ArtifactKind.CHECKPOINT, checkpoint.hash)
        return checkpoint.hash


def test_a_paused_run_frees_the_device_and_resumes_bit_for_bit(tmp_path: Path) -> None:
    expected = train_undisturbed(make_lab(tmp_path / "undisturbed", drills=False, file_recipe=LONG))

    home = make_lab(tmp_path / "paused", drills=False, file_recipe=LONG)
    with lab_up(home):
        assert realm_json(home, "run", "list") == []  # commands are quick from the second one on
        drop(home, "mine.jsonl", chat_rows(ROWS))
        wait_until(home, lambda lab: bool(lab.runs()) and steps(lab) >= 5)
        assert realm(home, "queue", "retry", "run-0001").returncode == 1  # refused, and harms nothing
        job = realm_json(home, "run", "pause")
        assert job["state"] == "paused"
        with Realm(home) as lab:
            paused_at = steps(lab)
            newest = lab.lab.ledger.checkpoints.latest_of_run("run-0001")
            assert newest is not None
            assert newest.step == paused_at < STEPS  # saved at the very step it had reached
        assert realm(home, "run", "pause").returncode == 3  # nothing runs any more
        assert realm_json(home, "run", "resume")["state"] == "queued"
        wait_until(home, lambda lab: job_state(lab, "run-0001") == "done")
        with Realm(home) as lab:
            taken = [e.step for e in lab.watch("run-0001", follow=False) if isinstance(e, StepTaken)]
    assert sorted(taken) == list(range(1, STEPS + 1))  # no step lost, none repeated
    assert last_of_run(home) == expected


def test_a_stopped_run_ends_as_a_valid_checkpoint(tmp_path: Path) -> None:
    home = make_lab(tmp_path / "home", drills=False, file_recipe=LONG)
    with lab_up(home):
        assert realm_json(home, "run", "list") == []  # commands are quick from the second one on
        drop(home, "mine.jsonl", chat_rows(ROWS))
        wait_until(home, lambda lab: bool(lab.runs()) and steps(lab) >= 5)
        realm_json(home, "run", "stop", "run-0001")
        wait_until(home, lambda lab: job_state(lab, "run-0001") == "done")
    with Realm(home) as lab:
        run = lab.runs()[0]
        assert run.outcome == "stopped"
        assert 5 <= run.step < STEPS
        assert lab.checkpoint("dio@latest").step == run.step
    last_of_run(home)
    assert realm(home, "run", "resume", "run-0001").returncode == 1  # an ended run is over


def test_a_diverging_run_fails_and_the_last_good_checkpoint_stays(tmp_path: Path) -> None:
    wild = FILE_RECIPE.replace("1.0e-3", "1.0e+38").replace(
        "{kind: constant, clock: run, warmup_steps: 2}", "{kind: constant, clock: run, warmup_steps: 0}"
    )
    home = make_lab(tmp_path / "home", drills=False, file_recipe=wild)
    with lab_up(home):
        drop(home, "mine.jsonl", chat_rows(400))
        wait_until(home, lambda lab: job_state(lab, "run-0001") == "failed")
        failed = realm_json(home, "status")["failed"]
        assert "step" in failed[0]["reason"]
        with Realm(home) as lab:
            assert lab.runs()[0].outcome == "failed"
            assert [c.hero_step for c in lab.checkpoints()] == [0]
            lab.lab.store.verified(ArtifactKind.CHECKPOINT, lab.checkpoint("dio@latest").hash)
        # The lab goes on with the next file, once somebody mended the recipe.
        (home / "recipes" / "study.yaml").write_text(FILE_RECIPE)
        drop(home, "other.jsonl", chat_rows(40))
        wait_until(home, lambda lab: job_state(lab, "run-0002") == "done")


def test_rows_that_would_train_nothing_are_told_and_nothing_is_trained(tmp_path: Path) -> None:
    home = make_lab(tmp_path / "home", drills=False, file_recipe=FILE_RECIPE + "  max_tokens: 12\n")
    job = train_here(home, chat_rows(8))  # every row is longer than 12 tokens
    assert (job.id, job.state) == ("run-0001", JobState.FAILED)
    with Realm(home) as lab:
        assert "12" in lab.jobs()[0].reason
        assert [c.hero_step for c in lab.checkpoints()] == [0]


def test_a_corrupted_checkpoint_is_refused_by_training_and_by_chat(tmp_path: Path) -> None:
    home = make_lab(tmp_path / "home", drills=False)
    assert train_here(home, chat_rows(40)).state is JobState.DONE
    with Realm(home) as lab:
        folder = lab.lab.store.path(ArtifactKind.CHECKPOINT, lab.checkpoint("dio@latest").hash)
    weights = folder / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-5] ^= 1
    weights.write_bytes(data)
    job = train_here(home, chat_rows(44), "other.jsonl")
    assert (job.id, job.state) == ("run-0002", JobState.FAILED)
    assert "model.safetensors" in job.reason
    answer = realm(home, "ask", "hi", "--model", "dio@latest")
    assert answer.returncode == 1
    assert "model.safetensors" in answer.stderr
    with Realm(home) as lab:
        assert isinstance(lab.ask("hi", "dio@0"), str)


def test_drills_wait_after_a_stop_and_go_on_after_a_restart(tmp_path: Path) -> None:
    home = make_lab(tmp_path / "home", drills=True, rows=12_000)
    spark = home / "recipes" / "spark.yaml"
    spark.write_text(spark.read_text().replace("every_steps: 4", "every_steps: 500"))
    with lab_up(home):
        assert realm(home, "status").returncode == 0
        wait_until(home, lambda lab: bool(lab.runs()) and steps(lab) >= 3)
        realm_json(home, "run", "stop")
        wait_until(home, lambda lab: job_state(lab, "run-0001") == "done")
        wait_until(home, lambda lab: "was stopped" in lab.status().waiting_for)
        with Realm(home) as lab:
            assert len(lab.runs()) == 1
    with lab_up(home):
        wait_until(home, lambda lab: job_state(lab, "run-0002") == "running")
        assert realm(home, "down").returncode == 0
        with Realm(home) as lab:
            assert lab.status().holder is None
            assert job_state(lab, "run-0002") == "running"  # goes on at the next start
