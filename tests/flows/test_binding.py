"""What a recipe says of its model binds a campaign only where it is true, and never the recipes beside it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from realm import Realm
from realm.core.errors import RefusedError, StateError
from realm.core.hashing import hash_file
from realm.flows.context import Lab
from realm.flows.drills import queue_drills
from realm.flows.train import plan_training
from realm.flows.worker import Filler
from realm.models.blank import BLANKS, SpecialIds
from realm.models.files import save
from realm.models.tokenizer import train_tokenizer
from realm.training.rules import Locked
from tiny_lab import chat_rows, make_lab
from tiny_shapes import SHAPES

SHAPE = (
    "{{kind: llama, hidden_size: {hidden}, layers: 2, heads: 4, kv_heads: 2, head_dim: 8, "
    "intermediate_size: 48, context_tokens: 256, rope_theta: 10000.0, tie_embeddings: true}}"
)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    home = make_lab(tmp_path / "home", drills=True)
    (home / "chats.jsonl").write_text(chat_rows(24))
    return home


def _recipe(home: Path, name: str, model: str) -> str:
    (home / "recipes" / f"{name}.yaml").write_text(f"extends: study\nmodel: {model}\n")
    return name


def _planned(lab: Lab, recipe: str | None = None, *, migrate: bool = False) -> Locked:
    job = plan_training(lab, str(lab.home.root / "chats.jsonl"), recipe=recipe, migrate=migrate)
    return Locked.model_validate(lab.ledger.runs.get(job.id).spec["locked"])


def test_recipes_that_say_nothing_of_the_model_go_on_after_one_that_does(home: Path) -> None:
    with Realm(home) as lab:
        first = _planned(lab.lab)
        with pytest.raises(StateError, match="context_tokens 1024 → 512"):
            _planned(lab.lab, _recipe(home, "short", "{context_tokens: 512}"))
        short = _planned(lab.lab, "short", migrate=True)
        assert short == first.model_copy(update={"context_tokens": 512})
        assert _planned(lab.lab) == short
        assert queue_drills(lab.lab)
        longer = _recipe(home, "longer", "{context_tokens: 1024}")
        with pytest.raises(StateError, match="context_tokens 512 → 1024"):
            _planned(lab.lab, longer)
        assert _planned(lab.lab, longer, migrate=True) == first


def test_a_recipe_for_another_model_is_refused_and_binds_nothing(home: Path) -> None:
    with Realm(home) as lab:
        with pytest.raises(StateError, match="dio began from random weights"):
            _planned(lab.lab, _recipe(home, "foreign", "{base: Qwen/Qwen3-0.6B}"))
        with pytest.raises(RefusedError, match="dio has no tokenizer yet"):
            _planned(lab.lab, _recipe(home, "words", "{tokenizer: 'sha256:0000'}"))
        assert not lab.lab.ledger.runs.list()
        assert _planned(lab.lab).base == _planned(lab.lab).base


def _of_a_folder(home: Path) -> Path:
    """Give the hero a folder's model; return the folder."""
    tokenizer = train_tokenizer(["What is 3? 3 is 9."] * 5, 300)
    special = SpecialIds(end=tokenizer.eos_token_id, pad=tokenizer.pad_token_id)
    (home / "mine").mkdir()
    save(BLANKS.build(SHAPES["llama"]).build(len(tokenizer), special, 0), tokenizer, home / "mine")
    lines = (home / "realm.yaml").read_text().splitlines()
    own = ["    base: mine" if line.strip().startswith("blank: ") else line for line in lines]
    (home / "realm.yaml").write_text("\n".join(own) + "\n")
    return home / "mine"


def test_a_name_and_a_hash_are_given_to_the_model_that_they_are_of(home: Path) -> None:
    folder = _of_a_folder(home)
    words = hash_file(folder / "tokenizer.json")
    with Realm(home) as lab:
        assert _planned(lab.lab).base == "folder mine"
        named = _planned(lab.lab, _recipe(home, "named", f"{{base: maker/model, tokenizer: '{words}'}}"))
        assert (named.base, named.tokenizer) == ("maker/model", words)
        assert _planned(lab.lab) == named  # silent ones do not take it back
        _recipe(home, "renamed", "{base: maker/other}")
        with pytest.raises(StateError, match="base maker/model → maker/other"):
            _planned(lab.lab, "renamed")
        job = plan_training(lab.lab, str(home / "chats.jsonl"), recipe="renamed", migrate=True)
        assert lab.lab.ledger.runs.get(job.id).spec["begins_anew"] is False  # the weights are the same
        with pytest.raises(StateError, match="for the tokenizer sha256:0000; that of dio is sha256:"):
            _planned(lab.lab, _recipe(home, "words", "{tokenizer: 'sha256:0000'}"))


def test_another_base_under_the_same_name_is_refused(home: Path) -> None:
    """The recipe names base and tokenizer, and the tokenizer is the same: a base of the same make."""
    folder = _of_a_folder(home)
    words = hash_file(folder / "tokenizer.json")
    shutil.copytree(folder, home / "yours")
    with Realm(home) as lab:
        named = _planned(lab.lab, _recipe(home, "named", f"{{base: maker/model, tokenizer: '{words}'}}"))
    config = (home / "realm.yaml").read_text()
    (home / "realm.yaml").write_text(config.replace("base: mine", "base: yours"))
    with Realm(home) as lab:
        with pytest.raises(StateError, match="is bound to its model: base folder mine → folder yours"):
            _planned(lab.lab, "named")
        job = plan_training(lab.lab, str(home / "chats.jsonl"), recipe="named", migrate=True)
        spec = lab.lab.ledger.runs.get(job.id).spec
        assert (spec["begins_anew"], spec["migrated"]) == (True, ["base folder mine → folder yours"])
        assert _planned(lab.lab, "named") == named  # and from then on it is the hero's own


def test_a_recipe_that_names_another_folder_is_refused(home: Path) -> None:
    folder = _of_a_folder(home)
    shutil.copytree(folder, home / "yours")
    with Realm(home) as lab:
        for base in ("yours", str(home / "yours")):
            with pytest.raises(StateError, match=r"the recipe is for the model in .*yours .* dio began from"):
                _planned(lab.lab, _recipe(home, "foreign", f"{{base: '{base}'}}"))
        assert not lab.lab.ledger.runs.list()
        (home / "alias").symlink_to(folder)
        assert _planned(lab.lab, _recipe(home, "own", "{base: alias}")).base == "alias"
        lost = _recipe(home, "lost", "{base: " + "x" * 5000 + "}")
        with pytest.raises(StateError, match="is bound to its model: base alias → xxx"):
            _planned(lab.lab, lost)


def test_a_base_of_another_shape_is_refused(home: Path) -> None:
    _of_a_folder(home)
    with Realm(home) as lab:
        wide = f"{{base: maker/wide, shape: {SHAPE.format(hidden=64)}, vocabulary_size: 300}}"
        with pytest.raises(
            StateError, match=r"for maker/wide of .*hidden_size 64 .*; dio has .*hidden_size 32\n"
        ):
            _planned(lab.lab, _recipe(home, "wide", wide))
        narrow = SHAPES["llama"] | {"layers": 9}
        with pytest.raises(StateError, match=r"for a model of layers 9 .model.shape.; dio has layers 2\n"):
            _planned(lab.lab, _recipe(home, "deep", f"{{shape: {narrow}}}"))


def test_a_blank_hero_of_another_shape_is_refused_also_where_it_shall_migrate(home: Path) -> None:
    (home / "recipes" / "raise.yaml").write_text("extends: tabula-rasa\nrules: {device: cpu}\n")
    with Realm(home) as lab:
        with pytest.raises(StateError) as refused:
            _planned(lab.lab, "raise", migrate=True)
        assert refused.value.what == (
            "the recipe is for a model of hidden_size 768, layers 14, heads 12, head_dim 64, "
            "intermediate_size 2304 (model.shape); "
            "dio has hidden_size 32, layers 1, heads 4, head_dim 8, intermediate_size 64"
        )
        assert "shape as its blank" in refused.value.hint
        assert not lab.lab.ledger.runs.list()
        blank = lab.lab.hero.blank
        assert blank is not None
        own = f"{{shape: {blank.model_dump()}, vocabulary_size: 9999}}"
        assert _planned(lab.lab, _recipe(home, "own", own)).context_tokens == 1024


def test_drills_that_cannot_be_planned_leave_the_lab_up(home: Path, caplog: pytest.LogCaptureFixture) -> None:
    (home / "recipes" / "spark.yaml").write_text("extends: study\nmodel: {base: maker/model}\n")
    with Realm(home) as lab:
        filler = Filler(lab.lab, 1)
        assert filler.tick() is False
    assert "no drills are made: the recipe is for maker/model" in caplog.text
