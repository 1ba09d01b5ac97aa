from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from realm.flows.estimate import Asked, answer, recipes_home
from tiny_lab import chat_rows, make_lab, realm, realm_json, trained_here


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

    after = realm_json(home, *asked, "--no-measure")
    learnt = after["learnt"]
    assert learnt["runs"] == 1
    assert learnt["seconds"] != 1.0
    expected = before["estimate"]["step_seconds"] * learnt["seconds"]
    assert after["estimate"]["step_seconds"] == pytest.approx(expected)
    assert any("corrected by 1 run of this realm" in line for line in after["basis"])
    elsewhere = realm_json(home, *asked, "--device", "rtx4090")
    assert elsewhere["learnt"]["runs"] == 0, "what was learnt here says nothing of other hardware"
    measured = realm_json(home, *asked, "--measure")
    assert measured["learnt"]["runs"] == 0, "what was measured now stands for itself"
    told = measured["estimate"]["step_seconds"] / measured["estimate"]["step_tokens"]
    took = measured["measured"]["step_seconds"] / measured["measured"]["step_tokens"]
    assert told == pytest.approx(took, rel=0.01)
