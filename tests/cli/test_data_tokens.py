from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import typer

from realm import Realm
from realm.cli import data
from realm.cli.options import Options
from realm.core.errors import NotFoundError, UsageError
from realm.corpus.rows.speech import turns
from realm.models.tokenizer import train_tokenizer

CHAT = {
    "messages": [
        {"role": "user", "content": "Compute: ①⓪"},
        {"role": "assistant", "content": "no", "weight": 0},
        {"role": "user", "content": "again"},
        {"role": "assistant", "content": "①\x1b[31m"},
    ]
}

CALL = {"id": "a", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Oslo"}'}}


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tokenizer")
    train_tokenizer(["Compute: ①⓪ again"] * 5, 320).save_pretrained(folder)
    return folder


def _run(*words: str, as_json: bool = False, home: Path | None = None) -> int:
    app = typer.Typer()
    data.register(app)
    result = app(args=["data", *words], standalone_mode=False, obj=Options(home=home, json=as_json))
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


def test_a_turn_without_content_is_named_by_line_with_what_to_do_about_calls(
    tmp_path: Path, tokenizer: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = {"role": "user", "content": "q"}
    file = _file(
        tmp_path,
        CHAT,
        {"messages": [asked, {"role": "assistant"}]},
        {"messages": [asked, {"role": "assistant", "content": None}]},
        {"messages": [asked, {"role": "assistant", "tool_calls": [CALL]}]},
    )
    assert _run("tokens", file, "--tokenizer", str(tokenizer)) == 1
    shown = capsys.readouterr().out
    assert "mine.jsonl:2: messages[1] has no content" in shown
    assert "mine.jsonl:3: messages[1].content is null" in shown
    assert "mine.jsonl:4: messages[1] has 'tool_calls'" in shown
    assert "as `realm data add` does" in shown


def test_a_call_without_words_is_trained_as_it_is_collected(
    tmp_path: Path, tokenizer: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [
        {"role": "user", "content": "What is the weather in Oslo?"},
        {"role": "assistant", "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "a", "content": "sun"},
        {"role": "assistant", "content": "Sun."},
    ]
    collected = turns(given, pytest.fail)
    row = {"messages": [turn.model_dump(include={"role", "content"}) for turn in collected]}
    assert _run("tokens", _file(tmp_path, row), "--tokenizer", str(tokenizer), "--rows", "1") == 0
    shown = capsys.readouterr().out
    call = '<tool_call>\n{"name": "weather", "arguments": {"city": "Oslo"}}\n</tool_call>'
    assert f"⟦{call}<|end|>⟧<|tool|>sun<|end|><|assistant|>⟦Sun.<|end|>⟧" in shown
    assert "regions: 2 trained regions for 2 assistant turns" in shown


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


def _model(folder: Path, tokenizer: Path, context: int) -> str:
    """Return a folder with what a model says of itself, and its tokenizer."""
    shutil.copytree(tokenizer, folder)
    (folder / "config.json").write_text(json.dumps({"max_position_embeddings": context, "vocab_size": 320}))
    return str(folder)


def _long(words: int) -> dict[str, object]:
    return {"messages": [{"role": "user", "content": "q " * words}, {"role": "assistant", "content": "x"}]}


def test_without_a_recipe_rows_are_held_to_the_one_that_train_takes(
    tmp_path: Path, tokenizer: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = _file(tmp_path, CHAT, _long(900))
    assert _run("tokens", file, "--tokenizer", str(tokenizer)) == 0
    shown = capsys.readouterr().out
    assert "by recipe study: rows of up to 1024 tokens, rules.max_tokens (the model's context is " in shown
    assert "1 rows, " in shown
    assert "; 1 longer than 1024 tokens; 2 trained tokens of rows longer than 1024 tokens" in shown


def test_preferences_that_supervised_training_reads_by_one_ending_are_told(
    tmp_path: Path, tokenizer: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pair = {"prompt": "What is 3?", "chosen": "3 is 9.", "rejected": "3 is 8."}
    file = _file(tmp_path, pair, pair)
    assert _run("tokens", file, "--tokenizer", str(tokenizer)) == 0
    shown = capsys.readouterr().out
    assert "2 rows, " in shown
    assert "; 2 with a rejected ending that the method does not read" in shown
    assert "3 is 8." not in shown
    recipe = tmp_path / "pairs.yaml"
    recipe.write_text("rules: {steps: 2}\nmethod: dpo\n")
    _run("tokens", file, "--tokenizer", str(tokenizer), "--recipe", str(recipe))
    assert "rejected ending" not in capsys.readouterr().out


def test_in_a_realm_the_heros_recipe_for_files_is_taken(
    tmp_path: Path, tokenizer: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = tmp_path / "lab"
    Realm.create(home, "dio").close()
    text = (home / "realm.yaml").read_text()
    (home / "realm.yaml").write_text(text.replace("file_recipe: study", "file_recipe: mine"))
    (home / "recipes").mkdir(exist_ok=True)
    (home / "recipes" / "mine.yaml").write_text(
        "extends: study\nrules: {max_tokens: 64, encoding: {over_long: split}}\n"
    )
    text = json.dumps({"text": "again " * 100})
    (tmp_path / "text.jsonl").write_text(text + "\n")
    words = ("tokens", str(tmp_path / "text.jsonl"), "--tokenizer", str(tokenizer))
    assert _run(*words, as_json=True, home=home) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["recipe"], document["max_tokens"], document["context_tokens"]) == ("mine", 64, None)
    assert document["dropped"] == {"cut into pieces": 1}
    assert document["rows"] > 1


def test_the_models_context_limits_rows_as_in_training(
    tmp_path: Path, tokenizer: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, file = _model(tmp_path / "model", tokenizer, 64), _file(tmp_path, _long(40), _long(50))
    assert _run("tokens", file, "--tokenizer", model) == 1
    shown = capsys.readouterr().out
    assert "by recipe study: rows of up to 64 tokens, the model's context" in shown
    assert "✗ no row is left to train on: 2 longer than 64 tokens\n  → the model reads 64 tokens" in shown
    recipe = tmp_path / "short.yaml"
    recipe.write_text("rules: {steps: 2, max_tokens: 32}\n")
    assert _run("tokens", file, "--tokenizer", model, "--recipe", str(recipe)) == 1
    shown = capsys.readouterr().out
    assert "by recipe short: rows of up to 32 tokens, rules.max_tokens" in shown
    recipe.write_text("rules: {steps: 2, max_tokens: 32}\nmodel: {context_tokens: 512}\n")
    assert _run("tokens", file, "--tokenizer", model, "--recipe", str(recipe)) == 1
    assert "→ raise rules.max_tokens to at least " in capsys.readouterr().out


def test_rows_that_validation_holds_out_are_counted(
    tmp_path: Path, tokenizer: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = tmp_path / "held.yaml"
    recipe.write_text("rules: {steps: 2}\nwhere: {validation: {share: 0.5}}\n")
    file = _file(tmp_path, *[{"text": f"again {n}"} for n in range(20)])
    assert _run("tokens", file, "--tokenizer", str(tokenizer), "--recipe", str(recipe), as_json=True) == 0
    document = json.loads(capsys.readouterr().out)
    held = document["dropped"]["held out for validation"]
    assert 0 < held < 20
    assert document["rows"] == 20 - held


def test_prompts_are_refused_where_nobody_answers_them(
    tmp_path: Path, tokenizer: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = _file(tmp_path, *[{"prompt": f"Compute: {n}", "expected": "①"} for n in range(2)])
    assert _run("tokens", file, "--tokenizer", str(tokenizer)) == 1
    assert "✗ no row is left to train on: 2 without an answer\n  → give rows" in capsys.readouterr().out


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
