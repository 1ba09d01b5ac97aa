from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from realm.cli import scrub
from realm.cli.options import Options
from realm.core.errors import UsageError
from realm.corpus.scrub import Scrubber, Verdict
from realm.corpus.scrubbing.review import Quarantine

GITHUB = "ghp" + "_" + "vT3kQz8WmN1xLr5YbC7dHs2JfG9aPe4KuXo6"
DOUBT = "blueberry" + "mountain"


def _run(*words: str, as_json: bool = False) -> None:
    app = typer.Typer()
    app.command("scrub")(scrub.scrub)
    app.command("review")(scrub.review)
    app(args=list(words), standalone_mode=False, obj=Options(json=as_json))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "chat.jsonl"
    rows = [{"text": "hello"}, {"text": f"key {GITHUB}"}, {"text": f'password = "{DOUBT}"'}]
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return path


def test_json_has_the_counts_and_every_finding(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _run("scrub", str(file), as_json=True)
    shown = capsys.readouterr().out
    result = json.loads(shown)
    findings = result.pop("findings")
    assert result == {"rows": 3, "replaced": 1, "quarantined": 1, "clean": 1}
    assert findings[0] == {
        "row": 1, "kind": "github_token", "start": 4, "end": 44, "confidence": 0.98, "field": "/text"
    }  # fmt: skip
    assert GITHUB not in shown
    assert DOUBT not in shown


def test_json_of_a_clean_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.txt").write_text("one\ntwo\n")
    _run("scrub", str(tmp_path / "a.txt"), as_json=True)
    expected = {"findings": [], "rows": 2, "replaced": 0, "quarantined": 0, "clean": 2}
    assert json.loads(capsys.readouterr().out) == expected


def test_the_table_shows_kind_and_place_and_no_value(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = file.parent / "out.jsonl"
    _run("scrub", str(file), "--out", str(out))
    shown = capsys.readouterr().out
    assert "github_token" in shown
    assert "3 rows: 1 clean, 1 replaced, 1 in doubt" in shown
    assert GITHUB not in shown
    assert DOUBT not in shown
    assert [json.loads(line) for line in out.read_text().splitlines()] == [
        {"text": "hello"},
        {"text": "key <SECRET:github_token:1>"},
    ]


def test_the_score_is_one_document(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "labelled.jsonl"
    rows = [{"text": f"key {GITHUB}", "label": "secret"}, {"text": "hello", "label": "clean"}]
    file.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    _run("scrub", "--score", str(file), as_json=True)
    result = json.loads(capsys.readouterr().out)
    assert result.pop("mb_per_s") >= 0
    assert result == {
        "recall": 1.0, "precision": 1.0, "quarantine_rate": 0.0, "false_positive_rate": 0.0, "rows": 2
    }  # fmt: skip


def test_contradictions_are_refused(file: Path) -> None:
    with pytest.raises(UsageError):
        _run("scrub", str(file), "--out", str(file))
    with pytest.raises(UsageError):
        _run("scrub", str(file), "--score", "--out", "x")


@pytest.mark.parametrize(("key", "verdict"), [("s", Verdict.REPLACED), ("n", Verdict.CLEAN)])
def test_a_key_decides(
    file: Path,
    key: str,
    verdict: Verdict,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = file.parent / "held"
    _run("scrub", str(file), "--quarantine", str(folder), as_json=True)
    keys = iter(["?", key])
    monkeypatch.setattr(typer, "getchar", lambda: next(keys))
    _run("review", str(folder))
    assert DOUBT in capsys.readouterr().out
    scrubber = Scrubber(Scrubber.Config(decisions=Quarantine(folder).decisions.path))
    assert scrubber.scrub_text(f'password = "{DOUBT}"').verdict is verdict


def test_a_row_is_dropped_and_the_list_tells_no_value(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = file.parent / "held"
    _run("scrub", str(file), "--quarantine", str(folder), as_json=True)
    capsys.readouterr()
    _run("review", str(folder), "--list")
    _run("review", str(folder), as_json=True)
    shown = capsys.readouterr().out
    assert "chat.jsonl:3" in shown
    assert DOUBT not in shown
    monkeypatch.setattr(typer, "getchar", lambda: "d")
    _run("review", str(folder))
    _run("review", str(folder))
    assert "nothing waits" in capsys.readouterr().out


def test_no_secret_reaches_the_command_line_of_a_process_or_its_environment(file: Path) -> None:
    code = (
        "import sys, json, typer; from realm.cli import scrub; from realm.cli.options import Options\n"
        "app = typer.Typer(); app.command()(scrub.scrub)\n"
        "app(args=[sys.argv[1]], standalone_mode=False, obj=Options(json=True))\n"
        "print(open('/proc/self/cmdline').read(), open('/proc/self/environ').read())\n"
    )
    if not Path("/proc/self/cmdline").exists():
        pytest.skip("needs /proc")
    done = subprocess.run(
        [sys.executable, "-c", code, str(file)],
        capture_output=True,
        text=True,
        check=True,
        env=dict(os.environ),
    )
    assert GITHUB not in done.stdout + done.stderr
    assert DOUBT not in done.stdout + done.stderr
