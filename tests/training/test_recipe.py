from __future__ import annotations

import subprocess
import sys
from importlib.resources import files

import pytest
from pydantic import ValidationError

from realm.core.errors import ConfigError, NotFoundError
from realm.training.job import RowsFile, TrainJob
from realm.training.methods.supervised import Supervised
from realm.training.recipe import Recipe, Resolved, resolve, shipped_text
from realm.training.schedules import Cosine

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
        (
            "rules: {epochs: 1, schedule: cosin}",
            "rules.schedule: no kind is called 'cosin': did you mean cosine?",
        ),
        (
            "rules: {epochs: 1, schedule: {warmup_steps: 3}}",
            "rules.schedule.kind is missing: there are: constant, linear, cosine, wsd",
        ),
        ("rules: {epochs: 1, parameters: {kind: lora, targets: []}}", "targets names no layer"),
        (
            "rules: {epochs: 1, encoding: {train_roles: [bot]}}",
            "rules.encoding.train_roles.0: one of system, user, assistant, tool is expected, not 'bot'",
        ),
        ("rules: {steps: 1.0e+23}", "rules.steps: a smaller whole number is expected, not 1e+23"),
        ("rules: {steps: 1000000001}", "rules.steps: must be at most 1000000000, not 1000000001"),
        ("rules: {epochs: 1.0e+300}", "rules.epochs: must be at most 1000000, not 1e+300"),
        (
            "rules: {epochs: 1, optimizer: {learning_rate: 1.0e+23}}",
            "rules.optimizer.learning_rate: must be at most 1000, not 1e+23",
        ),
        (
            "rules: {epochs: 1, launcher: {kind: torchrun, timeout_s: 1.0e+12}}",
            "rules.launcher.timeout_s: must be",
        ),
        (
            "rules: {epochs: 1, schedule: {kind: linear, warmup_steps: 1.0e+12}}",
            "rules.schedule.warmup_steps: must",
        ),
        (
            "rules: {epochs: 1}\nmethod: spervised",
            "method: no kind is called 'spervised': did you mean supervised?",
        ),
        (
            "rules: {epochs: 1, watch: {sinks: [x]}}",
            "rules.watch.sinks.0: no kind is called 'x': there are: jsonl",
        ),
        (
            "rules: {epochs: 1}\nmethod: {kind: grpo, rewards: [{reward: {kind: skill, skill: bn}}]}",
            "method.rewards.0.reward.skill: no kind is called 'bn'",
        ),
        (
            "rules: {epochs: 1, batch_rows: 0}\nmethod: {kind: dpo, beta: -1, loss: ip}\n"
            "where: {mixture: {by: ''}}",
            "where.mixture.by: must have at least 1 characters; where.mixture.weights is missing; "
            "rules.batch_rows: must be at least 1, not 0; "
            "method.loss: one of sigmoid, ipo is expected, not 'ip' (did you mean ipo?); "
            "method.beta: must be greater than 0, not -1",
        ),
        ("title: 2024-13-45", "this is no timestamp"),
    ],
)
def test_a_faulty_recipe_is_refused_in_words(text: str, told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        resolve("mine", lambda name: text)
    assert told in str(caught.value)
    assert caught.value.exit_code == 2


def test_a_schedule_may_be_its_name_alone() -> None:
    found = resolve("mine", lambda _: "rules: {epochs: 1, schedule: cosine}")
    assert found.recipe.rules.schedule == Cosine()


def test_a_file_whose_name_cannot_be_a_recipes_is_refused_in_words() -> None:
    with pytest.raises(ConfigError, match="recipe my own: name: must be 1 to 128 of the letters"):
        resolve("my own", lambda _: "rules: {epochs: 1}")


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


def _over(below: str, above: str) -> Resolved:
    texts = {"below": below, "above": f"extends: below\n{above}"}
    return resolve("above", texts.__getitem__)


@pytest.mark.parametrize(
    "written", ["kind: adamw, offload: true, ", "offload: true, ", "kind: paged_adamw8bit, "]
)
@pytest.mark.parametrize("above", ["adamw8bit", "{kind: adamw8bit}"])
def test_another_optimizer_keeps_the_settings_that_all_optimizers_have(written: str, above: str) -> None:
    settings = "learning_rate: 2.0e-5, betas: [0.9, 0.95], weight_decay: 0.0, carry: false"
    found = _over(
        f"rules: {{steps: 1, optimizer: {{{written}{settings}}}}}", f"rules: {{optimizer: {above}}}"
    )
    optimizer = found.recipe.rules.optimizer.model_dump()
    kept = {"learning_rate": 2e-5, "betas": (0.9, 0.95), "weight_decay": 0.0, "carry": False}
    assert optimizer == {"kind": "adamw8bit", "eps": 1e-8, **kept}
    before = "paged_adamw8bit" if "paged" in written else "adamw"
    fell = ["rules.optimizer.offload: true → unset"] if "offload" in written else []
    assert sorted(found.overrides) == [f"rules.optimizer.kind: {before} → adamw8bit", *fell]


def test_another_schedule_keeps_its_warm_up_and_what_the_new_one_has_too() -> None:
    below = "rules: {steps: 90, schedule: {kind: cosine, warmup_steps: 9, horizon_steps: 60, floor: 0.1}}"
    same = {"clock": "run", "warmup_steps": 9}
    wsd = _over(below, "rules: {schedule: {kind: wsd, decay_steps: 5}}").recipe.rules.schedule
    assert wsd.model_dump() == {"kind": "wsd", "decay_steps": 5, "horizon_steps": 60, "floor": 0.1, **same}
    constant = _over(below, "rules: {schedule: constant}").recipe.rules.schedule
    assert constant.model_dump() == {"kind": "constant", **same}


def test_settings_that_are_alike_in_name_alone_fall_to_the_new_kinds_defaults() -> None:
    below = "rules: {steps: 1}\nmethod: {kind: dpo, beta: 0.9, label_smoothing: 0.1}"
    teacher = "teacher: {kind: local, folder: big}"
    found = _over(below, f"method: {{kind: distillation, {teacher}}}")
    assert found.recipe.method.model_dump()["beta"] == 0.5
    assert "method.beta: 0.9 → 0.5" in found.overrides


def test_a_bare_name_below_takes_the_settings_above_and_a_wrong_key_below_is_told() -> None:
    found = _over("rules: {steps: 1, schedule: cosine}", "rules: {schedule: {warmup_steps: 5}}")
    assert (found.recipe.rules.schedule.kind, found.recipe.rules.schedule.warmup_steps) == ("cosine", 5)
    with pytest.raises(ConfigError, match=r"unknown key rules\.optimizer\.beta"):
        _over("rules: {steps: 1, optimizer: {beta: 1}}", "rules: {optimizer: {kind: adamw, eps: 1.0e-7}}")
