"""Wrong use of a command: what is wrong, which option was meant, and which help tells more."""

from __future__ import annotations

import json

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


def test_a_mistyped_option_of_any_length_is_answered(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["eval", "run", "--" + "s" * 100_000]) == 2
    assert "see `realm eval run --help`" in capsys.readouterr().err


def test_an_error_cannot_move_the_cursor(capsys: pytest.CaptureFixture[str]) -> None:
    print_error(UsageError("no \x1b[2Jfile", hint="look\nhere"), as_json=False)
    assert capsys.readouterr().err == "realm: no [2Jfile\n  → look\nhere\n"
