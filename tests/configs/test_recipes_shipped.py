from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from realm.core.config import validate
from realm.core.errors import ConfigError
from realm.flows.config import HeroConfig
from realm.models.blank import BLANKS
from realm.training import hardware, lengths, shapes
from realm.training.estimate import Estimate, Plan, estimate
from realm.training.hardware import GB, Hardware
from realm.training.job import RowsFile, TrainJob
from realm.training.recipe import Recipe, resolve, shipped_names, shipped_text

MEANT_FOR = {
    "spark": hardware.cpu(8 * GB),
    "study": hardware.cpu(8 * GB),
    "0.6b-full": hardware.named("rtx4090"),
    "4b-full-24gb": hardware.named("rtx4090"),
    "8b-lora-64k": hardware.named("h100"),
    "80b-a3b-dora-8xh100": hardware.named("8xh100"),
    "tabula-rasa": hardware.named("rtx4090"),
}
"""The hardware that a recipe's title names."""
SIZES = {"0.6b-full": 0.6, "4b-full-24gb": 4.0, "8b-lora-64k": 8.2, "80b-a3b-dora-8xh100": 79.7}
"""Parameters in 10⁹, as the makers of these models state them."""
PAGE = Path(__file__).parents[2] / "docs" / "recipes.md"


def told(name: str, on: Hardware) -> Estimate:
    """Estimate a recipe with every row as long as it allows."""
    recipe = Recipe.shipped(name)
    model = recipe.model
    shape = shapes.of_blank(model.shape or BLANKS.config("qwen3"), model.vocabulary_size or 512)
    rows = lengths.equal(min(recipe.rules.max_tokens, shape.context_tokens))
    return estimate(
        Plan(recipe=recipe, shape=shape, lengths=rows, hardware=on, weight_bytes=2 if model.base else 4)
    )


def test_all_recipes_are_looked_at() -> None:
    assert sorted(MEANT_FOR) == shipped_names()


@pytest.mark.parametrize("name", shipped_names())
def test_it_fits_the_hardware_it_names(name: str) -> None:
    assert told(name, MEANT_FOR[name]).fits


@pytest.mark.parametrize("name", sorted(set(MEANT_FOR) - {"spark", "study"}))
def test_the_page_tells_the_memory_that_the_formula_does(name: str) -> None:
    row = next(line for line in PAGE.read_text().splitlines() if line.startswith(f"| `{name}` |"))
    needed, there_are = re.findall(r"([\d.]+) of (\d+) GB", row)[0]
    on = MEANT_FOR[name]
    found = told(name, on)
    assert (needed, there_are) == (f"{found.peak_bytes / GB:.1f}", f"{on.memory_bytes / GB:.0f}")
    if beside := re.search(r"([\d.]+) GB of the machine's memory", row):
        assert beside[1] == f"{found.host_bytes / GB:.0f}"


@pytest.mark.parametrize("name", shipped_names())
def test_every_setting_of_it_is_known_and_a_job_of_it_survives_json(name: str) -> None:
    recipe = resolve(name, shipped_text).recipe
    assert recipe.title
    job = TrainJob(
        run="r",
        seed=1,
        start="a",
        origin="a",
        rows=(RowsFile(path="b"),),
        recipe=recipe,
        stages="c",
        events="d",
    )
    assert TrainJob.model_validate_json(job.model_dump_json()) == job


@pytest.mark.parametrize("name", shipped_names())
def test_an_unknown_key_names_the_nearest(name: str) -> None:
    data = yaml.safe_load(shipped_text(name))
    data["rules"]["batch_row"] = data["rules"].pop("batch_rows")
    with pytest.raises(ConfigError, match=r"rules\.batch_row .did you mean batch_rows"):
        validate(Recipe, data, where=name)


@pytest.mark.parametrize("name", shipped_names())
def test_no_recipe_trains_a_router(name: str) -> None:
    patterns = getattr(Recipe.shipped(name).rules.parameters, "targets", "default")
    assert patterns == "default"


@pytest.mark.parametrize(("name", "billions"), SIZES.items())
def test_shapes_are_those_of_the_models_they_name(name: str, billions: float) -> None:
    assert told(name, MEANT_FOR[name]).parameters / 1e9 == pytest.approx(billions, rel=0.01)


def test_the_hero_that_a_recipe_for_a_blank_one_names_is_of_its_shape() -> None:
    head, _, _ = shipped_text("tabula-rasa").partition("title:")
    lines = [line.removeprefix("#") for line in head.splitlines() if line.startswith("#   ")]
    hero, recipe = (
        validate(HeroConfig, yaml.safe_load("\n".join(lines)), where="hero"),
        Recipe.shipped("tabula-rasa"),
    )
    assert hero.blank == recipe.model.shape
    assert hero.vocabulary_size == recipe.model.vocabulary_size
    assert (
        f"{told('tabula-rasa', MEANT_FOR['tabula-rasa']).parameters / 1e6:.0f} million parameters"
        in recipe.title
    )


def test_four_billion_weights_do_not_fit_24_gb_without_what_the_recipe_gives_up() -> None:
    on = MEANT_FOR["4b-full-24gb"]
    recipe = Recipe.shipped("4b-full-24gb")
    shape = shapes.of_blank(recipe.model.shape or BLANKS.config("qwen3"), recipe.model.vocabulary_size or 512)
    data = recipe.model_dump(mode="json")
    data["rules"]["optimizer"] = {"kind": "adamw"}
    plain = Plan(
        recipe=validate(Recipe, data, where="plain"),
        shape=shape,
        lengths=lengths.equal(4096),
        hardware=on,
        weight_bytes=2,
    )
    assert not estimate(plain).fits


def test_recipes_validate_where_torch_cannot_be_imported() -> None:
    code = (
        "import sys\n"
        "class NoTorch:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.partition('.')[0] in ('torch', 'transformers', 'peft', 'tokenizers'):\n"
        "            raise RuntimeError(name)\n"
        "sys.meta_path.insert(0, NoTorch())\n"
        "from realm.training.recipe import Recipe, shipped_names\n"
        "for name in shipped_names():\n"
        "    Recipe.shipped(name)\n"
        "import realm.training.estimate, realm.training.remedies, realm.training.calibration\n"
        "print(len(shipped_names()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, str(len(MEANT_FOR))), done.stderr
