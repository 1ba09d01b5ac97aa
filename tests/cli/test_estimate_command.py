from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

from realm import Realm
from realm.cli.estimate import MOMENTS
from realm.core.errors import ConfigError
from realm.flows.config import load_config, load_recipe
from realm.flows.estimate import Answer, Asked, answer, recipes_home
from realm.flows.home import Home
from realm.training.estimate_memory import Moment
from tiny_lab import chat_rows, make_lab, realm, realm_json, trained_here

HARDWARE = (("rtx4090", None), ("cuda", 12.0), ("cpu", 0.8))


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("REALM_HOME", raising=False)


def test_a_recipe_is_estimated_on_hardware_that_is_not_here_and_nothing_is_written(tmp_path: Path) -> None:
    told = realm_json(None, "estimate", "--recipe", "4b-full-24gb", "--device", "rtx4090")
    assert told["fits"] is True
    assert told["measured"] is None
    assert told["estimate"]["peak_bytes"] == sum(part["bytes"] for part in told["estimate"]["parts"])
    assert any("formula alone" in line for line in told["basis"])
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_fit_is_refused_with_the_change_that_would(tmp_path: Path) -> None:
    done = realm(None, "estimate", "--recipe", "0.6b-full", "--device", "cuda", "--memory-gb", "12", "--json")
    told = json.loads(done.stdout)
    assert (done.returncode, told["fits"]) == (1, False)
    change = told["remedies"][0]["changes"]
    sets = [word for line in change for word in ("--set", line.replace(": ", "="))]
    again = realm(
        None, "estimate", "--recipe", "0.6b-full", "--device", "cuda", "--memory-gb", "12", *sets, "--json"
    )
    assert (again.returncode, json.loads(again.stdout)["fits"]) == (0, True)


def test_every_moment_of_a_peak_has_words(tmp_path: Path) -> None:
    assert set(MOMENTS) == set(get_args(Moment))
    (tmp_path / "wide.yaml").write_text(
        "model: {vocabulary_size: 50000, shape: {kind: qwen3, hidden_size: 128, layers: 2}}\n"
        "rules:\n"
        "  {batch_rows: 4, steps: 10, precision: fp32, parameters: lora, memory: {tokens_at_once: 1024}}\n"
    )
    done = realm(None, "estimate", "--recipe", "wide.yaml", "--device", "cpu", "--memory-gb", "16")
    assert (done.returncode, "when: the masking is proven" in done.stdout) == (0, True), done.stderr


def applied(told: Answer, asked: Asked) -> list[tuple[Answer, int]]:
    """Return what is told with each remedy as it is written, and the peak that the remedy promised."""
    found = []
    for remedy in told.remedies:
        sets = tuple(change.replace(": ", "=", 1) for change in remedy.changes)
        found.append((answer(asked.model_copy(update={"overrides": sets}), Home(Path())), remedy.peak_bytes))
    return found


@pytest.mark.parametrize("name", ["spark", "0.6b-full", "4b-full-24gb", "8b-lora-64k", "tabula-rasa"])
def test_what_would_make_it_fit_does(name: str) -> None:
    found = 0
    for device, gigabytes in HARDWARE:
        asked = Asked(recipe=name, device=device, memory_gb=gigabytes)
        told = answer(asked, Home(Path()))
        for changed, promised in applied(told, asked):
            found += 1
            assert changed.fits, (device, gigabytes, told.remedies)
            assert changed.estimate.peak_bytes == promised
    assert found


def test_a_remedy_names_packs_that_shorter_rows_bring() -> None:
    asked = Asked(recipe="8b-lora-64k", device="rtx4090")
    changes = answer(asked, Home(Path())).remedies[0].changes
    assert {"rules.max_tokens: 16384", "rules.memory.tokens_at_once: 16384"} <= set(changes)


def test_shorter_rows_are_a_remedy_only_by_the_rows_that_they_leave(tmp_path: Path) -> None:
    rows = tmp_path / "long.jsonl"
    asked = Asked(recipe="8b-lora-64k", rows=rows, device="cuda", memory_gb=12)
    long = json.dumps({"text": "x" * 90_000}) + "\n"
    rows.write_text(long * 3)
    assert answer(asked, Home(tmp_path)).remedies == (), "every row would be left out"
    rows.write_text(long * 3 + (json.dumps({"text": "x" * 4000}) + "\n") * 20)
    told = answer(asked, Home(tmp_path))
    assert told.remedies
    assert all(changed.estimate.peak_bytes == promised for changed, promised in applied(told, asked))


@pytest.mark.parametrize(
    ("name", "set_", "told"),
    [
        ("8b-lora-64k", "rules.optimizer.kind=adamw8bit", "rules.optimizer.kind: adamw → adamw8bit"),
        ("0.6b-full", "rules.parameters.kind=lora", "rules.parameters.kind: full → lora"),
        ("study", "rules.schedule.kind=constant", "rules.schedule.kind: cosine → constant"),
        ("study", "rules.steps=5", "rules.epochs: 2 → unset"),
        ("study", "method.kind=dpo", "method: supervised → {kind: dpo}"),
    ],
)
def test_a_setting_is_tried_as_a_recipe_that_extends_this_one_would(name: str, set_: str, told: str) -> None:
    found = load_recipe(None, name, [set_])
    assert told in found.overrides
    above = Path("above.yaml")
    keys, value = set_.split("=")
    text = value
    for key in reversed(keys.split(".")):
        text = f"{{{key}: {text}}}"
    above.write_text(f"extends: {name}\n" + text[1:-1] + "\n")
    extended = load_recipe(None, str(above))
    assert extended.recipe.model_copy(update={"extends": None}) == found.recipe
    assert extended.overrides == found.overrides


def test_a_length_that_is_tried_wins_over_the_recipes_and_two_are_refused() -> None:
    rules = load_recipe(None, "study", ["rules.steps=5"]).recipe.rules
    assert (rules.steps, rules.epochs) == (5, None)
    with pytest.raises(ConfigError, match="either epochs or steps"):
        load_recipe(None, "study", ["rules.steps=5", "rules.epochs=1"])


def test_rows_give_the_steps_and_the_text_says_what_was_assumed(tmp_path: Path) -> None:
    (tmp_path / "mine.jsonl").write_text(chat_rows(64))
    done = realm(None, "estimate", "mine.jsonl", "--recipe", "study", "--no-measure")
    assert done.returncode == 0
    assert "4 steps, done in" in done.stdout
    assert "peak" in done.stdout
    assert "a blank qwen3 is taken" in done.stdout
    assert "--no-measure" in done.stdout


def test_rows_that_training_refuses_are_refused_in_the_same_words(tmp_path: Path) -> None:
    chat = {"messages": [{"role": "user", "content": "q" * 500}, {"role": "assistant", "content": "a"}]}
    (tmp_path / "long.jsonl").write_text(json.dumps(chat) + "\n")
    asked = ("estimate", "long.jsonl", "--device", "h100", "--set", "rules.max_tokens=64")
    done = realm(None, *asked)
    assert done.returncode == 1
    assert "long.jsonl: no row is left to train on: 1 longer than 64 tokens" in done.stderr
    assert "raise rules.max_tokens to at least 150, " in done.stderr
    (tmp_path / "asked.jsonl").write_text(json.dumps({"prompt": "q", "expected": "a"}) + "\n")
    done = realm(None, "estimate", "asked.jsonl", "--device", "h100")
    assert (done.returncode, "1 without an answer" in done.stderr) == (1, True)


def test_prompts_that_a_served_teacher_will_answer_are_estimated(tmp_path: Path) -> None:
    (tmp_path / "asked.jsonl").write_text(json.dumps({"prompt": "q", "expected": "a"}) + "\n")
    (tmp_path / "taught.yaml").write_text(
        "rules: {steps: 2}\n"
        "method:\n"
        "  kind: distillation\n"
        '  teacher: {kind: endpoint, url: "https://host/v1", model: big, key_variable: KEY}\n'
    )
    asked = Asked(recipe="taught.yaml", rows=Path("asked.jsonl"), device="h100")
    assert answer(asked, recipes_home(None)).fits


def test_rows_that_are_cut_are_estimated_by_their_pieces(tmp_path: Path) -> None:
    (tmp_path / "long.jsonl").write_text(json.dumps({"text": "x" * 3500}) + "\n")
    sets = ("rules.max_tokens=64", "rules.encoding.over_long=split", "rules.batch_rows=4", "rules.epochs=1")
    asked = Asked(recipe="study", rows=Path("long.jsonl"), device="h100", overrides=sets)
    assert answer(asked, recipes_home(None)).estimate.steps == 4, "1,001 tokens in 16 pieces"


def test_mistakes_are_named(tmp_path: Path) -> None:
    assert "did you mean rtx4090" in realm(None, "estimate", "--device", "rtx4091").stderr
    assert realm(None, "estimate", "--recipe", "nope").returncode == 3
    assert "no hardware is called '0xh100'" in realm(None, "estimate", "--device", "0xh100").stderr
    for gigabytes in ("inf", "nan", "1e300"):
        endless = realm(None, "estimate", "--device", "cuda", "--memory-gb", gigabytes)
        assert (endless.returncode, "Traceback" in endless.stderr) == (2, False), gigabytes
    wrong = realm(None, "estimate", "--set", "rules.batch_row=3")
    assert (wrong.returncode, "did you mean batch_rows" in wrong.stderr) == (2, True)


def test_an_estimate_by_formula_loads_no_torch() -> None:
    code = (
        "import sys; from realm.cli.main import run\n"
        "run(['estimate', '--recipe', '8b-lora-64k', '--device', 'h100'])\n"
        "print(sorted({'torch', 'transformers', 'peft', 'numpy'} & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"


def test_a_realm_that_has_run_corrects_its_estimates_and_says_so(tmp_path: Path) -> None:
    home = make_lab(tmp_path / "lab", drills=False)
    (tmp_path / "mine.jsonl").write_text(chat_rows(40))
    asked = ("estimate", "mine.jsonl", "--recipe", "study")
    before = realm_json(home, *asked, "--no-measure")
    assert before["learnt"] == {"memory": 1.0, "seconds": 1.0, "runs": 0}
    assert trained_here(home, tmp_path / "mine.jsonl").state == "done"

    with Realm(home) as lab:
        latest = lab.checkpoint("dio@latest")
    after = realm_json(home, *asked, "--no-measure")
    learnt = after["learnt"]
    assert learnt["runs"] == 1
    assert learnt["seconds"] != 1.0
    study, folder = str(home / "recipes" / "study.yaml"), home / "vault" / "checkpoints"
    bare = answer(
        Asked(
            recipe=study,
            rows=tmp_path / "mine.jsonl",
            model=folder / latest.hash.removeprefix("sha256:"),
            measure=False,
        ),
        Home(tmp_path),
    )
    expected = bare.estimate.step_seconds * learnt["seconds"]
    assert after["estimate"]["step_seconds"] == pytest.approx(expected)
    by = f"memory × {learnt['memory']:.2f}, time × {learnt['seconds']:.2f}"
    assert [line for line in after["basis"] if "corrected" in line] == [
        f"corrected by 1 run of this realm: {by}"
    ]
    assert after["model"] == latest.name
    assert "no --model was given: dio@latest" in after["basis"]
    named = realm_json(home, *asked, "--model", "dio@latest", "--no-measure", "--set", "rules.steps=7")
    assert named["estimate"]["steps"] == 7, "--set is of the recipe, not of the realm"
    elsewhere = realm_json(home, *asked, "--device", "rtx4090")
    assert elsewhere["learnt"]["runs"] == 0, "what was learnt here says nothing of other hardware"
    measured = realm_json(home, *asked, "--measure")
    assert measured["learnt"]["runs"] == 0, "what was measured now stands for itself"
    told = measured["estimate"]["step_seconds"] / measured["estimate"]["step_tokens"]
    took = measured["measured"]["step_seconds"] / measured["measured"]["step_tokens"]
    assert told == pytest.approx(took, rel=0.01)
    assert [line.partition(" tokens")[0] for line in measured["basis"] if "corrected" in line] == [
        f"corrected by a step of {measured['measured']['long_tokens']}"
    ]


def test_in_a_realm_the_run_that_train_would_start_is_asked_about(tmp_path: Path) -> None:
    home = make_lab(tmp_path / "lab", drills=False)
    found = Home(home)
    (home / "recipes" / "mine.yaml").write_text("extends: study\nrules: {epochs: 3}\n")
    config = found.config.read_text()
    found.config.write_text(config.replace("file_recipe: study", "file_recipe: mine"))
    (tmp_path / "mine.jsonl").write_text(chat_rows(40))
    asked = Asked(rows=tmp_path / "mine.jsonl", measure=False)
    told = answer(asked, found)
    assert (told.recipe, told.estimate.steps) == ("mine", 30)
    assert told.estimate.parameters < 30_000
    assert told.basis[:2] == (
        "no --recipe was given: mine, as `realm train` takes",
        "no --model was given: dio, which has no checkpoint yet, born with a vocabulary of at most 512",
    )
    assert not found.ledger.exists(), "asking leaves nothing behind"

    other = answer(asked.model_copy(update={"recipe": "0.6b-full", "device": "rtx4090"}), found)
    assert other.estimate.parameters > 500e6
    assert "no --model was given: the recipe's own shape, which is not that of dio" in other.basis
    shape = load_config(found).heroes["dio"].blank
    assert shape is not None
    own = {"shape": shape.model_dump(mode="json"), "vocabulary_size": 300, "context_tokens": 64}
    (home / "recipes" / "own.yaml").write_text("extends: study\n" + json.dumps({"model": own})[1:-1] + "\n")
    its = answer(asked.model_copy(update={"recipe": "own"}), found)
    assert its.basis[0].startswith("no --model was given: dio, which has no checkpoint yet"), "it is dio's"
    assert answer(asked, Home(tmp_path)).recipe == "study", "outside of a realm"


def test_a_hero_that_begins_from_a_base_is_estimated_as_that(tmp_path: Path) -> None:
    home = make_lab(tmp_path / "lab", drills=False)
    base = {"model_type": "qwen3", "vocab_size": 777, "hidden_size": 64, "num_hidden_layers": 1}
    base |= {"num_attention_heads": 4, "head_dim": 8, "intermediate_size": 64}
    (home / "base").mkdir()
    (home / "base" / "config.json").write_text(json.dumps(base | {"max_position_embeddings": 128}))
    lines = Home(home).config.read_text().splitlines()
    begins = next(number for number, line in enumerate(lines) if line.startswith("    blank:"))
    ends = next(n for n in range(begins + 1, len(lines)) if not lines[n].startswith("      "))
    lines[begins:ends] = ["    base: base"]
    Home(home).config.write_text("\n".join(lines) + "\n")
    told = answer(Asked(measure=False, device="rtx4090"), Home(home))
    assert told.model == str(home / "base")
    assert "no --model was given: dio, which has no checkpoint yet, as its base is" in told.basis
