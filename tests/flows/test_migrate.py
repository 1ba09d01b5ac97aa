"""A campaign that is bound to another base or tokenizer on purpose: the hero is born again."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from realm import Realm
from realm.core.errors import StateError
from realm.flows import control
from realm.flows.context import Lab
from realm.flows.train import plan_training
from realm.ledger.records import CheckpointRecord, RunRecord
from realm.models.blank import BLANKS, SpecialIds
from realm.models.files import save
from realm.models.tokenizer import train_tokenizer
from tiny_lab import carry_out_here, chat_rows, make_lab
from tiny_shapes import SHAPES

RECIPE = """
rules: {batch_rows: 8, steps: 2, saving: {every_steps: 2}, threads: 1}
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a lab whose hero, of no skills that would be tested, has trained one run."""
    home = make_lab(tmp_path_factory.mktemp("migrate") / "home", drills=False, file_recipe=RECIPE)
    config = (home / "realm.yaml").read_text()
    (home / "realm.yaml").write_text(re.sub(r" +skills:\n( {6}.*\n)+", "", config))
    (home / "chats.jsonl").write_text(chat_rows(24))
    with Realm(home) as lab:
        _train(lab.lab, migrate=False)
    return home


def _fewer_words(home: Path) -> None:
    _edit(home, "vocabulary_size: 512", "vocabulary_size: 300")


def _own_folder(home: Path) -> None:
    tokenizer = train_tokenizer(["What is 3? 3 is 9."] * 5, 300)
    special = SpecialIds(end=tokenizer.eos_token_id, pad=tokenizer.pad_token_id)
    (home / "mine").mkdir()
    save(BLANKS.build(SHAPES["llama"]).build(len(tokenizer), special, 0), tokenizer, home / "mine")
    lines = (home / "realm.yaml").read_text().splitlines()
    own = ["    base: mine" if line.strip().startswith("blank: ") else line for line in lines]
    (home / "realm.yaml").write_text("\n".join(own) + "\n")


@pytest.mark.parametrize(
    ("change", "bound", "setting"),
    [
        (_fewer_words, ["tokenizer"], "vocab_size"),
        (_own_folder, ["base", "context_tokens", "tokenizer"], "model_type"),
    ],
    ids=["tokenizer", "base"],
)
def test_a_hero_of_another_base_or_tokenizer_is_born_again(
    home: Path, change: Callable[[Path], None], bound: list[str], setting: str
) -> None:
    with Realm(home) as lab:
        before = lab.lab.ledger.checkpoints.list("first", "dio")
    change(home)
    with Realm(home) as lab:
        checkpoints = lab.lab.ledger.checkpoints
        with pytest.raises(StateError, match="campaign first is bound to its model") as refused:
            plan_training(lab.lab, str(home / "chats.jsonl"))
        assert "--migrate" in refused.value.hint
        run = _train(lab.lab, migrate=True)
        birth, *trained = checkpoints.list("first", "dio")[len(before) :]
        assert (birth.run, birth.step, birth.hero_step) == (None, 0, 0)
        assert [(found.run, found.step, found.hero_step) for found in trained] == [(run.id, 2, 2)]
        assert checkpoints.base("first", "dio") == birth
        assert run.start == birth.hash
        assert [line.split()[0] for line in run.spec["migrated"]] == bound
    old, born, new = (_config(home, found) for found in (before[-1], birth, trained[-1]))
    assert born[setting] != old[setting]
    assert new == born


def test_from_then_on_the_campaign_is_bound_to_it(home: Path) -> None:
    with Realm(home) as lab:
        latest = lab.lab.ledger.checkpoints.latest("first", "dio")
        run = _train(lab.lab, migrate=False)
        assert latest is not None
        assert (run.start, run.spec["migrated"]) == (latest.hash, [])
        found = lab.lab.ledger.checkpoints.latest("first", "dio")
        assert found is not None
        assert found.hero_step == latest.hero_step + 2


def test_a_migration_that_never_began_binds_nothing(home: Path) -> None:
    before = (home / "realm.yaml").read_text()
    _edit(home, "base: mine", "base: yours")
    with Realm(home) as lab:
        job = plan_training(lab.lab, str(home / "chats.jsonl"), migrate=True)
        assert lab.lab.ledger.runs.get(job.id).spec["migrated"]
        control.drop(lab.lab, job.id, "changed my mind")
        with pytest.raises(StateError, match="is bound to its model"):
            plan_training(lab.lab, str(home / "chats.jsonl"))
    (home / "realm.yaml").write_text(before)
    with Realm(home) as lab:
        run = _train(lab.lab, migrate=False)
        assert (run.spec["migrated"], run.step) == ([], 2)


def _train(lab: Lab, *, migrate: bool) -> RunRecord:
    job = plan_training(lab, str(lab.home.root / "chats.jsonl"), migrate=migrate)
    assert carry_out_here(lab, job.id).state == "done"
    return lab.ledger.runs.get(job.id)


def _config(home: Path, checkpoint: CheckpointRecord) -> dict[str, Any]:
    folder = home / "vault" / "checkpoints" / checkpoint.hash.removeprefix("sha256:")
    found: dict[str, Any] = json.loads((folder / "config.json").read_text())
    return found


def _edit(home: Path, old: str, new: str) -> None:
    text = (home / "realm.yaml").read_text()
    assert old in text
    (home / "realm.yaml").write_text(text.replace(old, new))
