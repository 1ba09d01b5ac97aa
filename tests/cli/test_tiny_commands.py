"""A command that tests fork is the command that a person starts."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tiny_commands import run_command
from tiny_lab import REALM, make_lab


@pytest.mark.parametrize(
    ("words", "said", "code"),
    [
        (("--home", "lab", "--json", "status"), "", 0),
        (("skill", "grade", "--skill", "bin", "-"), "not json\n", None),
        (("--home", "nowhere", "status"), "", 3),
        (("statis",), "", 2),
    ],
)
def test_streams_exit_code_and_place_are_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], said: str, code: int | None
) -> None:
    make_lab(tmp_path / "lab", drills=False)
    monkeypatch.chdir(tmp_path)
    started = subprocess.run([*REALM, *words], capture_output=True, text=True, input=said, check=False)
    forked = run_command(*words, stdin=said)
    assert (forked.returncode, forked.stdout, forked.stderr) == (
        started.returncode,
        started.stdout,
        started.stderr,
    )
    assert code in (None, started.returncode)


def test_the_environment_is_that_of_now(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("REALM_HOME", str(tmp_path / "named"))
    assert str(tmp_path / "named") in run_command("status").stderr
    monkeypatch.delenv("REALM_HOME")
    assert str(tmp_path / "named") not in run_command("status").stderr
