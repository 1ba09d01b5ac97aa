"""Wrong use of a command: what is wrong, which option was meant, and which help tells more."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from realm.cli.main import run
from realm.cli.output import print_error
from realm.core.errors import UsageError


@pytest.mark.parametrize(
    ("words", "what", "hint"),
    [
        ("eval run --bogus", "No such option: --bogus", "see `realm eval run --help`"),
        ("eval run --suit lite", "--suit", "did you mean --suite? see `realm eval run --help`"),
        ("eval run --earlystop", "--earlystop", "did you mean --early-stop? see `realm eval run --help`"),
        ("skill spar --untarget", "--untarget", "did you mean --untargeted? see `realm skill spar --help`"),
        ("run list --jsn", "--jsn", "did you mean --json? see `realm run list --help`"),
        ("--hoem x status", "--hoem", "did you mean --home? see `realm --help`"),
        ("eval --suite lite", "--suite", "see `realm eval --help`"),
        ("skill spar --problems", "requires an argument", "see `realm skill spar --help`"),
        ("skill spar --problems few", "--problems", "see `realm skill spar --help`"),
        ("eval show", "Missing argument 'evaluation'", "see `realm eval show --help`"),
        ("eval compare a b c", "(c)", "see `realm eval compare --help`"),
        ("eval rnu", "Did you mean 'run'?", "see `realm eval --help`"),
        ("evla", "Did you mean 'eval'?", "see `realm --help`"),
    ],
)
def test_wrong_use_names_the_help_of_the_command_that_was_meant(
    words: str, what: str, hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["--json", *words.split()]) == 2
    out, err = capsys.readouterr()
    told = json.loads(err)
    assert (out, told["error"], told["hint"]) == ("", "UsageError", hint)
    assert what in told["what"]


@pytest.mark.parametrize(
    "faulty",
    [
        "method: spervised",
        "rules: {schedule: {kind: cosin}}",
        "rules: {optimizer: {kind: adam}}",
        "rules: {parameters: {kind: lra}}",
        "rules: {launcher: torchrn}",
        "rules: {watch: {sinks: [mlflo]}}",
        "rules: {encoding: {profile: nne}}",
        "model: {shape: {kind: qwen}}",
    ],
)
def test_an_unknown_kind_is_a_bad_config_wherever_it_stands(
    faulty: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = tmp_path / "mine.yaml"
    recipe.write_text(f"extends: study\n{faulty}\n")
    assert run(["--json", "config", "check", str(recipe)]) == 2
    told = json.loads(capsys.readouterr().err)
    assert told["error"] == "ConfigError"
    assert told["what"].startswith("recipe mine: ")
    assert "there are: " in told["what"]


def test_init_takes_one_folder_said_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["--home", "lab", "--json", "init", str(tmp_path / "x" / ".." / "lab")]) == 0
    assert json.loads(capsys.readouterr().out)["home"] == str(tmp_path / "lab")
    assert run(["--home", "lab", "init", "other"]) == 2
    assert "two folders for one realm: other and --home lab" in capsys.readouterr().err
    assert not (tmp_path / "other").exists()


def test_a_mistyped_option_of_any_length_is_answered(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["eval", "run", "--" + "s" * 100_000]) == 2
    assert "see `realm eval run --help`" in capsys.readouterr().err


def test_an_error_cannot_move_the_cursor(capsys: pytest.CaptureFixture[str]) -> None:
    print_error(UsageError("no \x1b[2Jfile", hint="look\nhere"), as_json=False)
    assert capsys.readouterr().err == "realm: no [2Jfile\n  → look\nhere\n"
