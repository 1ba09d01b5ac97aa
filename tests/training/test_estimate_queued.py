from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from realm import Realm
from realm.core.errors import RefusedError
from realm.flows.estimate import check_run
from realm.models.blank import BLANKS, SpecialIds
from realm.models.files import save
from realm.models.tokenizer import train_tokenizer
from realm.training.estimate import PROCESS_BYTES
from realm.training.job import RowsFile, TrainJob
from realm.training.recipe import Recipe


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
