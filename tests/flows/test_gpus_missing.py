"""`realm train`, `realm estimate` and going on in more ranks than there are GPUs are refused."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from realm import Realm
from realm.core.errors import RefusedError
from realm.flows import control
from realm.flows.estimate import Asked, answer
from realm.flows.train import plan_training
from realm.ledger.records import RunRecord
from tiny_lab import chat_rows, make_lab

REFUSED = "4 ranks were asked for, and there are 2 GPUs here"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a lab on a machine whose driver's tool tells of two GPUs."""
    tool = tmp_path / "bin" / "nvidia-smi"
    tool.parent.mkdir()
    tool.write_text('#!/bin/sh\nfor gpu in 0 1; do echo "NVIDIA L40S, 45000"; done\n')
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tool.parent}:{os.environ['PATH']}")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    home = make_lab(tmp_path / "home", drills=False)
    (home / "chats.jsonl").write_text(chat_rows(8))
    for ranks in (2, 4):
        rules = f"{{device: cuda, launcher: {{kind: torchrun, processes: {ranks}}}}}"
        (home / "recipes" / f"ranks{ranks}.yaml").write_text(f"extends: study\nrules: {rules}\n")
    return home


def test_a_run_in_more_ranks_than_gpus_is_not_queued(home: Path) -> None:
    with Realm(home) as lab:
        with pytest.raises(RefusedError, match=REFUSED) as caught:
            plan_training(lab.lab, str(home / "chats.jsonl"), recipe="ranks4")
        assert "lower rules.launcher.processes to 2" in caught.value.hint
        assert not lab.lab.ledger.runs.list()
        assert not lab.lab.queue.list()


def test_a_run_does_not_go_on_in_more_ranks_than_gpus(home: Path) -> None:
    with Realm(home) as lab:
        job = plan_training(lab.lab, str(home / "chats.jsonl"), recipe="ranks2")
        control.drop(lab.lab, job.id, "later")
        before = _run(lab, job.id)
        with pytest.raises(RefusedError, match=REFUSED):
            control.retry(lab.lab, job.id, processes=4)
        assert _run(lab, job.id) == before
        assert control.retry(lab.lab, job.id, processes=1).state.value == "queued"


def test_an_estimate_for_this_machine_is_refused_and_one_for_another_is_given(home: Path) -> None:
    with Realm(home) as lab:
        found = lab.lab.home
    with pytest.raises(RefusedError, match=REFUSED):
        answer(Asked(recipe="ranks4", measure=False), found)
    assert answer(Asked(recipe="ranks2", measure=False), found).estimate.hardware.count == 2
    for elsewhere in ({"device": "4xh100"}, {"memory_gb": 80.0}):
        assert answer(Asked(recipe="ranks4", measure=False, **elsewhere), found).fits


def _run(lab: Realm, run: str) -> RunRecord:
    return lab.lab.ledger.runs.get(run)
