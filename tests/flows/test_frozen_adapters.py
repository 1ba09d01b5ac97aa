"""Adapters under a trained one: of which base they are, and which are gone on with."""

from __future__ import annotations

from pathlib import Path

import pytest

from realm import Realm
from realm.core.errors import ConfigError
from realm.core.records import ArtifactKind
from realm.flows.checkpoints import refuse_foreign
from realm.models.adapters import read_base
from tiny_lab import FILE_RECIPE, chat_rows, make_lab, trained_here

LORA = "  parameters: {kind: lora, rank: 2"


def write_recipe(home: Path, more: str) -> None:
    (home / "recipes" / "study.yaml").write_text(f"{FILE_RECIPE}{LORA}{more}}}\n")


def test_a_frozen_adapter_is_of_the_runs_base_and_in_the_vault(tmp_path: Path) -> None:
    home = make_lab(tmp_path / "home", drills=False)
    write_recipe(home, "")
    (home / "first.jsonl").write_text(chat_rows(8))
    assert trained_here(home, home / "first.jsonl").state == "done"
    with Realm(home) as realm:
        latest = realm.lab.ledger.checkpoints.latest(realm.lab.campaign, realm.lab.hero_name)
        assert latest is not None
        adapter = realm.lab.store.path(ArtifactKind.CHECKPOINT, latest.hash)
        below = read_base(adapter)
        assert below is not None
        refuse_foreign(realm.lab, [latest.hash], below.base)
        with pytest.raises(ConfigError, match="is a whole model"):
            refuse_foreign(realm.lab, [below.base], below.base)
    # The next run begins from the adapter merged, which it is not of.
    for frozen, refused in ((adapter, "is an adapter of sha256"), ("/elsewhere/" + "0" * 64, "vault")):
        write_recipe(home, f", frozen: [{frozen}]")
        (home / "second.jsonl").write_text(chat_rows(9))
        job = trained_here(home, home / "second.jsonl")
        assert job.state == "failed"
        assert refused in (job.reason or "")


def test_an_adapter_on_other_layers_lies_on_the_one_before_it(tmp_path: Path) -> None:
    """It is merged first; another dropout alone goes on with it, beside the same base."""
    home = make_lab(tmp_path / "home", drills=False)
    hashes, bases = list[str](), list[str]()
    for number, more in enumerate(("", ", dropout: 0.1", ", targets: [q_proj]")):
        write_recipe(home, more)
        (home / f"{number}.jsonl").write_text(chat_rows(8 + number))
        job = trained_here(home, home / f"{number}.jsonl")
        assert job.state == "done", job.reason
        with Realm(home) as realm:
            latest = realm.lab.ledger.checkpoints.latest(realm.lab.campaign, realm.lab.hero_name)
            assert latest is not None
            below = read_base(realm.lab.store.path(ArtifactKind.CHECKPOINT, latest.hash))
        assert below is not None
        hashes.append(latest.hash)
        bases.append(below.base)
    assert bases == [bases[0], bases[0], hashes[1]]
