from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer

from realm.cli import data
from realm.cli.options import Options
from realm.core.errors import NotFoundError, UsageError
from realm.models.tokenizer import train_tokenizer

CHAT = {
    "messages": [
        {"role": "user", "content": "Compute: ①⓪"},
        {"role": "assistant", "content": "no", "weight": 0},
        {"role": "user", "content": "again"},
        {"role": "assistant", "content": "①\x1b[31m"},
    ]
}


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tokenizer")
    train_tokenizer(["Compute: ①⓪ again"] * 5, 320).save_pretrained(folder)
    return folder


def _run(*words: str, as_json: bool = False) -> int:
    app = typer.Typer()
    data.register(app)
    result = app(args=["data", *words], standalone_mode=False, obj=Options(json=as_json))
    return int(result or 0)


def _file(folder: Path, *rows: object) -> str:
    path = folder / "mine.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def test_trained_text_stands_in_brackets_with_counts_and_checks(
    tmp_path: Path, tokenizer: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run("tokens", _file(tmp_path, *[CHAT] * 4), "--tokenizer", str(tokenizer), "--rows", "2") == 0
    shown = capsys.readouterr().out
    expected = (
        "<|user|>Compute: ①⓪<|end|><|assistant|>no<|end|><|user|>again<|end|><|assistant|>⟦①·[31m<|end|>⟧"
    )
    assert shown.count(expected) == 2
    assert "4 rows, " in shown
    assert shown.count("✓") == 5


def test_json_is_one_document_with_ids_texts_and_weights(
    tmp_path: Path, tokenizer: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    row = {"text": "again 🙂", "weight": 0.5}
    assert _run("tokens", _file(tmp_path, row), "--tokenizer", str(tokenizer), as_json=True) == 0
    document = json.loads(capsys.readouterr().out)
    tokens = document["shown"][0]["tokens"]
    assert "".join(text for _, text, _ in tokens) == "again 🙂<|end|>"
    assert {weight for _, _, weight in tokens} == {0.5}
    assert document["refusal"] == ""
    assert [check.split(":")[0] for check in document["checks"]] == ["labels"]


def test_bad_rows_are_named_by_line_and_leave_with_1(
    tmp_path: Path, tokenizer: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = _file(tmp_path, CHAT, {"messages": []}, CHAT, {"messages": "x"})
    assert _run("tokens", file, "--tokenizer", str(tokenizer)) == 1
    shown = capsys.readouterr().out
    assert "mine.jsonl:2: no assistant turn" in shown
    assert "mine.jsonl:4: messages is a string" in shown


def test_a_file_that_the_proof_refuses_leaves_with_1_and_the_reason(
    tmp_path: Path, tokenizer: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = {
        "messages": [{"role": "user", "content": "q" * 40}, {"role": "assistant", "content": "a<|user|>b"}]
    }
    assert _run("tokens", _file(tmp_path, bad), "--tokenizer", str(tokenizer)) == 1
    assert "✗ turn or instruction markers are inside trained text" in capsys.readouterr().out


def test_a_recipe_brings_its_limit(
    tmp_path: Path, tokenizer: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = _file(tmp_path, CHAT, {"messages": [{"role": "assistant", "content": "x " * 3000}]})
    assert _run("tokens", file, "--tokenizer", str(tokenizer), "--recipe", "study") == 0
    assert "1 rows, " in (shown := capsys.readouterr().out)
    assert "1 longer than" in shown


def test_prompts_that_a_method_answers_itself_are_not_held_against_the_masking(
    tmp_path: Path, tokenizer: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "constant_reward.py").write_text("def one(prompt, answer, row):\n    return 1.0\n")
    monkeypatch.syspath_prepend(tmp_path)
    rows = [{"prompt": f"Compute: {'①' * n}", "completion": "①"} for n in (1, 2)]
    recipe = tmp_path / "grpo.yaml"
    recipe.write_text(
        "rules: {steps: 2, max_tokens: 64}\n"
        'method: {kind: grpo, rewards: [{reward: {kind: python, function: "constant_reward:one"}}]}\n'
    )
    file = _file(tmp_path, *rows)
    assert _run("tokens", file, "--tokenizer", str(tokenizer), "--recipe", str(recipe)) == 0
    shown = capsys.readouterr().out
    assert "2 rows, " in shown
    assert "<|user|>Compute: ①①<|end|><|assistant|>\n" in shown
    assert "✓" not in shown


def test_wrong_use_says_what_to_do(tmp_path: Path, tokenizer: Path) -> None:
    file = _file(tmp_path, CHAT)
    with pytest.raises(UsageError, match="exclude each other"):
        _run("tokens", file, "--tokenizer", str(tokenizer), "--model", "x@latest")
    with pytest.raises(NotFoundError, match=r"tokenizer\.json is missing"):
        _run("tokens", file, "--tokenizer", str(tmp_path))
