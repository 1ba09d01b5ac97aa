from __future__ import annotations

import subprocess
import sys
from importlib.resources import files

import pytest
from pydantic import ValidationError

from realm.core.errors import NotFoundError
from realm.training.job import RowsFile, TrainJob
from realm.training.methods.supervised import Supervised
from realm.training.recipe import Recipe

SHIPPED = [
    f.name.removesuffix(".yaml") for f in files("realm.training.recipes").iterdir() if f.name.endswith("yaml")
]


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_recipes_load(name: str) -> None:
    assert isinstance(Recipe.shipped(name).method, Supervised.Config)


def test_unknown_recipe_lists_what_exists() -> None:
    with pytest.raises(NotFoundError, match=r"spark.*study"):
        Recipe.shipped("nope")


def test_a_job_survives_json() -> None:
    job = TrainJob(
        run="r",
        seed=1,
        start="a",
        origin="a",
        rows=(RowsFile(path="b"),),
        recipe=Recipe.shipped("study"),
        stages="c",
        events="d",
    )
    assert TrainJob.model_validate_json(job.model_dump_json()) == job


@pytest.mark.parametrize("length", [{}, {"epochs": 1, "steps": 1}])
def test_a_recipe_has_one_length(length: dict[str, int]) -> None:
    with pytest.raises(ValidationError, match="either epochs or steps"):
        Recipe(rules=length)


def test_reading_a_recipe_or_a_model_config_loads_no_torch() -> None:
    code = (
        "import sys, realm.training.child, realm.models.files, realm.models.engines.transformers\n"
        "from realm.training.recipe import Recipe\n"
        "from realm.models.blank import BLANKS\n"
        "Recipe.shipped('spark'), BLANKS.schema()\n"
        "print(sorted({'torch', 'transformers', 'tokenizers'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
