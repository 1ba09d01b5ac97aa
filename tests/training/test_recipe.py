from __future__ import annotations

import subprocess
import sys
from importlib.resources import files

import pytest
from pydantic import ValidationError

from realm.core.errors import ConfigError, NotFoundError
from realm.training.job import RowsFile, TrainJob
from realm.training.methods.supervised import Supervised
from realm.training.recipe import Recipe, resolve, shipped_text

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


@pytest.mark.parametrize(
    "settings",
    [
        "rules: {optimizer: {learning_rate: .inf}}",
        "rules: {optimizer: {weight_decay: .nan}}",
        "rules: {epochs: .inf}",
        "rules: {clip_norm: .inf}",
        "rules: {guard: {spike_sigmas: .inf}}",
        "rules: {parameters: {kind: lora, alpha: .inf}}",
        "rules: {optimizer: {kind: muon, other_learning_rate: .inf}}",
        "method: {kind: dpo, beta: .inf}",
        "method: {kind: uncertainty, max_weight: .inf}",
        "where: {datasets: [{dataset: mine, weight: .inf}]}",
    ],
)
def test_a_recipe_has_only_numbers_that_json_has(settings: str) -> None:
    with pytest.raises(ConfigError, match="finite number"):
        resolve("mine", {"mine": f"extends: study\n{settings}", "study": shipped_text("study")}.__getitem__)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("rules:\n  epochs: 1\n  epochs: 2", "epochs is set twice"),
        ("[" * 3000, "not readable as YAML"),
        ("rules: {epochs: 1, schedule: {kind: cosin}}", "no kind is called 'cosin': did you mean cosine?"),
        ("rules: {epochs: 1, parameters: {kind: lora, targets: []}}", "targets names no layer"),
    ],
)
def test_a_faulty_recipe_is_refused_in_words(text: str, told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        resolve("mine", lambda name: text)
    assert told in str(caught.value)


def test_no_targets_are_enough_beside_experts() -> None:
    found = resolve(
        "mine", lambda _: "rules: {epochs: 1, parameters: {kind: lora, targets: [], experts: true}}"
    )
    assert found.recipe.rules.parameters.model_dump()["targets"] == ()


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


@pytest.mark.parametrize(
    ("below", "above", "told"),
    [
        ("{epochs: 1}", "{threads: 1}", ["rules.threads: 2 → 1"]),
        ("{epochs: 1}", "{threads: 2}", []),
        ("{epochs: 1}", "{steps: 9}", ["rules.epochs: 1 → unset", "rules.steps: unset → 9"]),
        (
            "{epochs: 1}",
            "{optimizer: {kind: muon, learning_rate: 0.004}}",
            ["rules.optimizer.kind: adamw → muon", "rules.optimizer.learning_rate: 0.002 → 0.004"],
        ),
        (
            "{epochs: 1, saving: {every_steps: 5}}",
            "{saving: {merge: true}}",
            ["rules.saving.merge: false → true"],
        ),
        ("{threads: 1}", "{epochs: 2, threads: 3}", ["rules.threads: 1 → 3", "rules.epochs: unset → 2"]),
    ],
)
def test_an_override_is_told_against_what_held_before(below: str, above: str, told: list[str]) -> None:
    texts = {"below": f"rules: {below}", "above": f"extends: below\nrules: {above}"}
    assert list(resolve("above", texts.__getitem__).overrides) == told
