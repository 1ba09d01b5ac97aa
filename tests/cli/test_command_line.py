from __future__ import annotations

import json
from pathlib import Path

import pytest

from realm.cli.options import extract
from realm.core.errors import UsageError
from tiny_lab import chat_rows, make_lab, realm, realm_json


def test_common_options_are_accepted_anywhere() -> None:
    options, rest = extract(
        ["run", "--json", "list", "--home=/x", "--set", "a=1", "--limit", "3", "--set", "b=2"]
    )
    assert rest == ["run", "list", "--limit", "3"]
    assert (options.json, options.home, options.sets) == (True, Path("/x"), ["a=1", "b=2"])
    assert extract(["ask", "--", "--json"])[1] == ["ask", "--", "--json"]
    with pytest.raises(UsageError, match="--home needs a value"):
        extract(["status", "--home"])


def test_init_makes_a_realm_once(tmp_path: Path) -> None:
    made = json.loads(realm(None, "init", str(tmp_path / "lab"), "--json").stdout)
    assert (Path(made["home"]) / "realm.yaml").is_file()
    again = realm(None, "init", str(tmp_path / "lab"))
    assert (again.returncode, "already a realm" in again.stderr) == (1, True)
    named = json.loads(realm(tmp_path / "named", "init", "--json").stdout)
    assert named["home"] == str(tmp_path / "named")
    twice = realm(tmp_path / "one", "init", str(tmp_path / "other"))
    assert (twice.returncode, "two folders" in twice.stderr) == (2, True)


def test_a_new_realm_has_a_status_and_nothing_else(tmp_path: Path) -> None:
    home = make_lab(tmp_path / "lab", drills=True)
    status = realm_json(home, "status")
    assert (status["holder"], status["running"], status["latest"]) == (None, None, None)
    assert status["skills"][0] == {
        "name": "bin",
        "mastered_level": 0,
        "training_level": 3,
        "streak": 0,
        "needed": 3,
        "newest": None,
        "too_small": [1, 2],
    }
    assert realm(home, "run", "pause").returncode == 3
    assert realm(home, "ask", "hi").returncode == 3


def test_an_unknown_setting_names_the_nearest_one(tmp_path: Path) -> None:
    home = make_lab(tmp_path / "lab", drills=True)
    (home / "realm.yaml").write_text(
        (home / "realm.yaml").read_text().replace("evaluations: 3", "evaluation: 3")
    )
    done = realm(home, "status")
    assert done.returncode == 2
    assert "unknown key curriculum.evaluation (did you mean evaluations?)" in done.stderr
    assert "Traceback" not in done.stderr


def test_settings_can_be_overridden_for_one_call(tmp_path: Path) -> None:
    home = make_lab(tmp_path / "lab", drills=True)
    shown = realm_json(home, "config", "show", "--set", "curriculum.threshold=0.9")
    assert shown["curriculum"]["threshold"] == 0.9
    assert realm(home, "config", "check", "--set", "curriculum.threshold=2").returncode == 2


def test_a_realm_that_is_not_there(tmp_path: Path) -> None:
    done = realm(tmp_path / "none", "status")
    assert done.returncode == 3
    assert "realm init" in done.stderr
    error = json.loads(realm(tmp_path / "none", "status", "--json").stderr)
    assert error["error"] == "NotFoundError"


def test_a_home_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = realm(None, "init", str(tmp_path / "file" / "lab"))
    assert done.returncode == 4
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "words", [["nonsense"], ["run", "--nonsense"], ["init", "--template", "none"], ["run"]]
)
def test_wrong_use_exits_with_2(words: list[str], tmp_path: Path) -> None:
    done = realm(None, *words) if words[0] != "init" else realm(None, "init", str(tmp_path / "x"), *words[1:])
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_commands_that_need_no_realm_write_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.jsonl").write_text(chat_rows(3))
    (tmp_path / "bad.jsonl").write_text('{"text": 3}\n')
    assert realm_json(None, "data", "check", "mine.jsonl")["rows"] == 3
    bad = realm(None, "data", "check", "bad.jsonl")
    assert (bad.returncode, "bad.jsonl:1" in bad.stderr) == (1, True)
    assert {skill["name"] for skill in realm_json(None, "skill", "list")} >= {"bin"}
    rows = realm_json(
        None, "skill", "sample", "bin", "--level", "3", "--count", "2", "--option", "digit_order=lsb"
    )
    assert len(rows) == 2
    assert "heroes" in realm_json(None, "config", "schema")["properties"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.jsonl", "mine.jsonl"]
