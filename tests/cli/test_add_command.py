"""`realm data add` and `realm data hook` as a person, a program and an agent's hook call them."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from realm import Realm
from realm.cli.main import run
from realm.flows.documents import CollectedDocuments

SESSION = "0a1b2c3d-1111-2222-3333-444455556666"


def chats(path: Path, count: int) -> Path:
    rows = [{"prompt": f"What is {n} + {n}?", "completion": str(2 * n)} for n in range(count)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def session(folder: Path, turns: int) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    for turn in range(turns * 2):
        role = ("user", "assistant")[turn % 2]
        message = {"role": role, "content": f"Words {turn}."}
        parent = f"u{turn - 1}" if turn else None
        rows.append(
            {"type": role, "uuid": f"u{turn}", "parentUuid": parent, "sessionId": SESSION, "message": message}
        )
    file = folder / f"{SESSION}.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CLAUDE_CONFIG_DIR", str(tmp_path / "agent"))
    with Realm.create(tmp_path / "lab", template="dio") as realm:
        return realm.home.root


def data(home: Path, *words: str, as_json: bool = False) -> int:
    return run(["--home", str(home), *(["--json"] if as_json else []), "data", *words])


def test_one_bad_path_keeps_no_other_from_being_collected(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = chats(tmp_path / "chats.jsonl", 4)
    assert data(home, "add", str(tmp_path / "none"), str(file), as_json=True) == 1
    shown = capsys.readouterr()
    assert [each["documents"] for each in json.loads(shown.out)] == [4]
    assert json.loads(shown.err)["error"] == "NotFoundError"
    assert data(home, "add", str(tmp_path / "none")) == 3
    assert data(home, "add", str(file), str(file), "--name", "x") == 2
    file.unlink()
    assert data(home, "add") == 1
    shown = capsys.readouterr()
    assert "not collected: chats" in shown.out
    assert "no such file" in shown.err


def test_a_dry_run_shows_what_was_detected_and_writes_nothing(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = chats(tmp_path / "chats.jsonl", 4)
    words = ("add", str(file), "--dry-run", "--sample", "2", "--setting", "licence=MIT")
    assert data(home, *words) == 0
    shown = capsys.readouterr().out
    assert "chats: chat_jsonl, 1 items" in shown
    assert "prompt_completion" in shown
    assert shown.count("What is") == 2
    assert data(home, *words, as_json=True) == 0
    [found] = json.loads(capsys.readouterr().out)
    assert found["detected"]["shape"] == "prompt_completion"
    assert [one["document"]["origin"]["licence"] for one in found["documents"]] == ["MIT", "MIT"]
    assert data(home, "add", "--dry-run") == 2
    assert data(home, "add", str(file), "--setting", "licence") == 2
    with Realm(home) as realm:
        assert realm.lab.ledger.sources.list() == []
    assert data(home, "add", str(file)) == 0
    assert "chats: rows of shape prompt_completion in .jsonl" in capsys.readouterr().out


def test_the_status_says_when_each_source_was_collected(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    doubt = "blueberry" + "mountain"
    file = chats(tmp_path / "chats.jsonl", 2)
    file.write_text(file.read_text() + json.dumps({"prompt": "?", "completion": f'password = "{doubt}"'}))
    assert data(home, "add", str(file)) == 0
    capsys.readouterr()
    assert run(["--home", str(home), "status"]) == 0
    assert "chats (chat_jsonl): collected" in (shown := capsys.readouterr().out)
    assert "1 wait" in shown
    assert run(["--home", str(home), "--json", "status"]) == 0
    [source] = json.loads(capsys.readouterr().out)["sources"]
    assert (source["name"], source["waiting"]) == ("chats", 1)
    assert source["collected_at"]


def call_hook(command: str, payload: bytes) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(["sh", "-c", command], input=payload, capture_output=True, env=dict(os.environ))


def test_the_entry_hands_sessions_in_and_never_says_a_word(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = tmp_path / "agent" / "settings.json"
    assert data(home, "hook", "--write", str(settings), as_json=True) == 0
    assert json.loads(capsys.readouterr().out)["changed"] is True
    command = json.loads(settings.read_text())["hooks"]["Stop"][0]["hooks"][0]["command"]
    assert Path(command.split()[0]).is_absolute()
    for turns in (1, 3):
        file = session(tmp_path / "agent" / "projects" / "p", turns)
        done = call_hook(command, json.dumps({"transcript_path": str(file)}).encode())
        assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    with Realm(home) as realm:
        [source] = realm.lab.ledger.sources.list()
        [document] = CollectedDocuments(realm.lab, [source]).of({source.name})
        assert len(document.messages) == 6


@pytest.mark.parametrize(
    "payload",
    [b"", b"{}", b"[" * 2_000_000, b'{"transcript_path": "/etc/passwd.jsonl"}', b"\xff" * 3_000_000],
    ids=["none", "empty", "deep", "elsewhere", "long"],
)
def test_a_bad_call_of_the_hook_fails_with_one(
    home: Path,
    payload: bytes,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    for where in (home, tmp_path / "no realm"):
        told = io.BytesIO(payload)
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(told))
        assert data(where, "add", "--from-hook") == 1
        assert told.tell() <= 1_000_001
        assert capsys.readouterr().out == ""


def test_the_entry_is_printed_as_settings_have_it(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert data(home, "hook") == 0
    entry = json.loads(capsys.readouterr().out)
    assert set(entry["hooks"]) == {"SessionEnd", "Stop"}


def test_settings_keep_what_they_hold_and_its_former_content(home: Path, tmp_path: Path) -> None:
    real, link = tmp_path / "dotfiles" / "settings.json", tmp_path / "settings.json"
    real.parent.mkdir()
    before = '{"model": "x", "hooks": {"Stop": [{"hooks": [{"type": "command", "command": "ring"}]}]}}'
    real.write_text(before)
    real.chmod(0o644)
    link.symlink_to(real)
    for _ in range(2):
        assert data(home, "hook", "--write", str(link)) == 0
    assert link.is_symlink()
    assert real.stat().st_mode & 0o777 == 0o644
    found = json.loads(real.read_text())
    assert found["model"] == "x"
    assert [group["hooks"][0]["command"] == "ring" for group in found["hooks"]["Stop"]] == [True, False]
    assert sorted(path.name for path in real.parent.iterdir()) == ["settings.json", "settings.json.bak"]
    assert (real.parent / "settings.json.bak").read_text() == before
    for bad in ("[]", "{", '{"hooks": []}'):
        real.write_text(bad)
        assert data(home, "hook", "--write", str(link)) == 2
        assert real.read_text() == bad
