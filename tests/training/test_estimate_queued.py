from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, NoReturn

import pytest

from realm import Realm
from realm.core.errors import ChildDiedError, RealmError, RefusedError
from realm.core.events import RunPredicted, StepTaken
from realm.flows.drystep import measure
from realm.flows.estimate import Asked, answer, check_run
from realm.flows.home import Home
from realm.flows.learnt import taught
from realm.jobs.tail import EventLog
from realm.models.blank import BLANKS, SpecialIds
from realm.models.files import save
from realm.models.tokenizer import train_tokenizer
from realm.training import hardware, shapes
from realm.training.calibration import Prediction
from realm.training.estimate import PROCESS_BYTES, Plan
from realm.training.job import RowsFile, TrainJob
from realm.training.recipe import Recipe

MACHINE = "cpu/linux-x86_64"


def job(tmp_path: Path, **rules: Any) -> TrainJob:
    start = tmp_path / "start"
    start.mkdir()
    tokenizer = train_tokenizer(["the quick brown fox"] * 5, 320)
    special = SpecialIds(end=tokenizer.eos_token_id, pad=tokenizer.pad_token_id)
    save(BLANKS.build("qwen3").build(320, special, 0), tokenizer, start)
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"text": "the quick brown fox jumps"}\n' * 90 + '{"text": "' + "the fox " * 90 + '"}\n')
    recipe = {"rules": {"device": "cpu", "precision": "fp32", "epochs": 2, "batch_rows": 8, **rules}}
    return TrainJob(
        run="r",
        seed=1,
        start=str(start),
        origin=str(start),
        rows=(RowsFile(path=str(rows)),),
        recipe=Recipe.model_validate(recipe),
        stages=str(tmp_path / "stages"),
        events=str(tmp_path / "events.jsonl"),
    )


def test_a_queued_run_that_fits_is_predicted(tmp_path: Path) -> None:
    with Realm.create(tmp_path / "lab") as realm:
        told = check_run(realm.lab, job(tmp_path))
    assert told.machine.startswith("cpu/")
    assert PROCESS_BYTES < told.peak_bytes < PROCESS_BYTES + 200_000_000
    assert 8 * 5 < told.step_tokens < 8 * 40


def test_a_queued_run_that_cannot_fit_is_refused_with_the_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("realm.training.hardware.free_memory", lambda: PROCESS_BYTES + 30_000_000)
    with (
        Realm.create(tmp_path / "lab") as realm,
        pytest.raises(RefusedError, match="does not fit") as refused,
    ):
        check_run(realm.lab, job(tmp_path, batch_rows=64))
    assert "rules." in refused.value.hint or "no setting" in refused.value.hint


TOOL = """#!/bin/sh
for gpu in 0 1 2 3 4 5 6 7; do echo "NVIDIA H100 80GB HBM3, 80995"; done
"""


@pytest.fixture
def eight_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the driver's tool tell of eight GPUs."""
    (tmp_path / "bin").mkdir()
    tool = tmp_path / "bin" / "nvidia-smi"
    tool.write_text(TOOL)
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tool.parent}:{os.environ['PATH']}")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


@pytest.mark.usefixtures("eight_gpus")
def test_a_run_of_several_gpus_is_judged_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a shipped recipe needs of eight GPUs is more than one of them has."""
    recipe = Recipe.shipped("80b-a3b-dora-8xh100")
    shape = shapes.of_blank(BLANKS.config(recipe.model.shape.model_dump()), recipe.model.vocabulary_size or 0)
    monkeypatch.setattr("realm.flows.estimate.shape_of", lambda _: (shape, 2))
    monkeypatch.setattr("realm.training.hardware.free_memory", lambda: 2000 * hardware.GB)
    given = job(tmp_path).model_copy(update={"recipe": recipe})
    with Realm.create(tmp_path / "lab") as realm:
        told = check_run(realm.lab, given)
        assert told.peak_bytes < 80 * hardware.GB
        monkeypatch.setattr("realm.training.hardware.free_memory", lambda: 150 * hardware.GB)
        with pytest.raises(RefusedError, match="of the machine's memory"):  # it is loaded whole there
            check_run(realm.lab, given)
        alone = recipe.rules.launcher.model_copy(update={"processes": 1})
        rules = recipe.rules.model_copy(update={"launcher": alone})
        with pytest.raises(RefusedError, match="does not fit"):
            check_run(
                realm.lab, given.model_copy(update={"recipe": recipe.model_copy(update={"rules": rules})})
            )


@pytest.mark.usefixtures("eight_gpus")
def test_a_queued_run_in_more_ranks_than_gpus_is_refused(tmp_path: Path) -> None:
    given = job(tmp_path, device="cuda", launcher={"kind": "torchrun", "processes": 9})
    with Realm.create(tmp_path / "lab") as realm, pytest.raises(RefusedError, match="9 ranks were asked for"):
        check_run(realm.lab, given)


def test_a_run_that_asks_for_a_gpu_where_there_is_none_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with Realm.create(tmp_path / "lab") as realm, pytest.raises(RefusedError, match="finds no GPU here"):
        check_run(realm.lab, job(tmp_path, device="cuda"))


def test_ranks_are_not_tried_dry(tmp_path: Path) -> None:
    (tmp_path / "recipes").mkdir()
    ranks = "{launcher: {kind: torchrun, processes: 2}, threads: 1}"
    (tmp_path / "recipes" / "ranks.yaml").write_text(f"extends: spark\nrules: {ranks}\n")
    told = answer(Asked(recipe="ranks"), Home(tmp_path))
    assert told.measured is None
    assert "no step was measured: several processes are not tried dry" in told.basis


def test_a_dry_step_that_nobody_asked_for_may_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "model").mkdir()
    config = {"model_type": "qwen3", "vocab_size": 300, "hidden_size": 32, "num_hidden_layers": 1}
    config |= {
        "num_attention_heads": 4,
        "head_dim": 8,
        "intermediate_size": 64,
        "max_position_embeddings": 128,
    }
    (tmp_path / "model" / "config.json").write_text(json.dumps(config))
    asked = Asked(recipe="spark", model=tmp_path / "model")  # it has no weights
    tried: list[RealmError] = []

    def once(plan: Plan, model: Path | None) -> NoReturn:
        """Try the step in a real process the first time, and fail the same way from then on."""
        if not tried:
            with pytest.raises(RealmError) as failed:
                measure(plan, model)
            tried.append(failed.value)
        raise tried[0]

    monkeypatch.setattr("realm.flows.estimate.measure", once)
    told = answer(asked, Home(tmp_path))
    assert told.measured is None
    assert any("the measured step failed" in line for line in told.basis)
    with pytest.raises(ChildDiedError, match="the measured step failed"):
        answer(asked.model_copy(update={"measure": True}), Home(tmp_path))


def test_the_last_runs_of_a_machine_are_found_among_those_of_others(tmp_path: Path) -> None:
    with Realm.create(tmp_path / "lab") as realm:
        lab = realm.lab
        for number in range(20):
            run = f"run-{number:04d}"
            told = Prediction(
                machine="cuda/other" if number >= 10 else MACHINE,
                peak_bytes=0,
                step_seconds=1,
                step_tokens=100,
            )
            lab.emit(RunPredicted(run=run, **told.model_dump()))
            log = EventLog(lab.home.events(run))
            log.emit(_step(run, 4.0 if number < 2 else 2.0))
            log.close()
            line = lab.home.events(run).read_bytes()  # behind what a killed writer tore
            lab.home.events(run).write_bytes(line[:-20] + b"\n" + line)
        found = taught(lab.home, lab.ledger, MACHINE)
    assert found.runs == 8
    assert found.seconds == pytest.approx(2 ** (8 / 10))


def _step(run: str, seconds: float) -> StepTaken:
    return StepTaken(
        run=run,
        step=1,
        steps_total=1,
        hero_step=1,
        loss=1.0,
        gradient_norm=1.0,
        learning_rate=1.0,
        tokens=100,
        trained_tokens=100,
        seconds=seconds,
    )
