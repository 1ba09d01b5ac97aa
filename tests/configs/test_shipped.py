from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import pytest
import yaml

from realm.core.errors import ConfigError, NotFoundError, RealmError
from realm.flows.config import (
    RealmConfig,
    check_home,
    load_config,
    load_recipe,
    schema,
    template_names,
    template_text,
)
from realm.flows.create import create_home
from realm.training.recipe import Recipe

RECIPES = sorted(
    f.name.removesuffix(".yaml")
    for f in files("realm.training.recipes").iterdir()
    if f.name.endswith(".yaml")
)


@pytest.mark.parametrize("name", template_names())
def test_every_template_makes_a_realm_that_checks(name: str, tmp_path: Path) -> None:
    home = create_home(tmp_path / "My lab!", name, {"seed": "7"})
    assert check_home(home).startswith("sha256:")
    config = load_config(home)
    assert config.name == "My-lab"
    assert config.hero()[1].seed == 7
    assert home.inbox.is_dir()
    assert home.private.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_loads(name: str, tmp_path: Path) -> None:
    home = create_home(tmp_path / "lab", "dio", {})
    assert load_recipe(home, name).recipe == Recipe.shipped(name)


def test_a_recipe_of_ones_own_wins(tmp_path: Path) -> None:
    home = create_home(tmp_path / "lab", "dio", {})
    home.recipes.mkdir()
    (home.recipes / "spark.yaml").write_text("extends: spark\nrules: {epochs: 3, batch_rows: 7}")
    found = load_recipe(home, "spark")
    assert found.recipe.rules.batch_rows == 7
    assert found.recipe.rules.optimizer == Recipe.shipped("spark").rules.optimizer
    assert set(found.overrides) == {"rules.epochs: 1 → 3", "rules.batch_rows: 64 → 7"}


def test_a_recipe_that_is_no_text_is_refused_in_words(tmp_path: Path) -> None:
    home = create_home(tmp_path / "lab", "dio", {})
    home.recipes.mkdir()
    (home.recipes / "spark.yaml").write_bytes(b"title: \xff\xfe")
    with pytest.raises(ConfigError, match="recipe spark: not readable as YAML"):
        check_home(home)


def test_what_extends_a_recipe_that_is_not_there_names_the_nearest_of_all(tmp_path: Path) -> None:
    home = create_home(tmp_path / "lab", "dio", {})
    home.recipes.mkdir()
    (home.recipes / "evening.yaml").write_text("extends: study")
    for wanted, near in (("studdy", "study"), ("evenin", "evening")):
        (home.recipes / "mine.yaml").write_text(f"extends: {wanted}")
        with pytest.raises(
            NotFoundError, match=f"recipe mine extends: no recipe is called '{wanted}'"
        ) as caught:
            load_recipe(home, "mine")
        assert f"did you mean {near}? there are: " in caught.value.hint
    with pytest.raises(NotFoundError) as caught:
        load_recipe(home, "minne")
    assert "did you mean mine?" in caught.value.hint


def test_the_schema_knows_every_setting_of_the_template() -> None:
    data = yaml.safe_load(template_text("dio", {}))
    assert set(data) <= set(schema()["properties"])
    assert {"blank", "skill", "method", "parameters", "optimizer", "sink"} < set(schema()["families"])
    assert "rules" in schema()["recipe"]["properties"]
    assert RealmConfig.model_validate(data).digest == RealmConfig.model_validate(data).digest


@pytest.mark.parametrize(
    ("old", "new", "word"),
    [
        ("kind: bin,", "kind: ban,", "did you mean bin"),
        ("digit_order: lsb", "digit_ordr: lsb", "did you mean digit_order"),
        ("layers: 3", "layers: none", "layers"),
        ("recipe: spark ", "recipe: spork ", "spark"),
    ],
)
def test_a_mistake_deep_inside_is_named(tmp_path: Path, old: str, new: str, word: str) -> None:
    home = create_home(tmp_path / "lab", "dio", {})
    text = home.config.read_text()
    assert old in text
    home.config.write_text(text.replace(old, new))
    with pytest.raises(RealmError, match=word):
        check_home(home)
