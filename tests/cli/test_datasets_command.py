"""`realm data stats` and `realm data export` as a person and a program use them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from realm import Realm
from realm.cli.main import run
from realm.corpus.assembly.yields import Yield
from tiny_datasets import chats, publish, rows, trained


@pytest.fixture
def home(tmp_path: Path) -> Path:
    with Realm.create(tmp_path / "lab", template="dio") as realm:
        shaped = Yield(name="as_is", version="1", accepted=8).model_dump(mode="json")
        given = [{"contributor": "ann", "rows": 8, "rigs": []}]
        good = rows(chats(range(8)), contributor="ann")
        data = publish(realm.lab, good, name="good", yields=[shaped], contributions=given)
        publish(realm.lab, rows(chats(range(3)), licence="unknown"), name="bad", collections=["two"])
        trained(realm.lab, data, None, 1)
    return tmp_path / "lab"


def test_the_three_kinds_of_statistics(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--home", str(home), "data", "stats"]) == 0
    shown = capsys.readouterr().out
    assert "2 datasets, 2 builds" in shown
    assert "as_is" in shown
    assert run(["--home", str(home), "data", "stats", "bad"]) == 0
    shown = capsys.readouterr().out
    assert "3 rows have a licence that is unknown or forbids it (unknown: 3)" in shown
    assert run(["--home", str(home), "data", "stats", "--model", "dio@latest"]) == 0
    shown = capsys.readouterr().out
    assert "8 accepted rows are enough" in shown
    assert run(["--home", str(home), "data", "stats", "bad", "--model", "dio@latest"]) == 2


@pytest.mark.parametrize("words", [[], ["good"], ["--model", "dio@latest"]])
def test_json_is_one_document(home: Path, words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--home", str(home), "--json", "data", "stats", *words]) == 0
    assert json.loads(capsys.readouterr().out)["contributions"] == [
        {"contributor": "ann", "rows": 8, "rigs": []}
    ]


def test_an_export_that_is_refused_leaves_with_1_and_says_why(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--home", str(home), "data", "export", "bad", "--out", str(tmp_path / "out")]
    assert run(words) == 1
    refused = capsys.readouterr().err
    assert "(unknown: 3)" in refused
    assert "--private" in refused
    assert run([*words, "--private", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["facts"]["private"] is True
    assert run(words) == 1
    assert "exists already" in capsys.readouterr().err


@pytest.mark.parametrize("wrong", [["--format", "xml"], ["--shape", "round"]])
def test_a_wrong_choice_is_wrong_use(
    home: Path, tmp_path: Path, wrong: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["--home", str(home), "data", "export", "good", "--out", str(tmp_path / "out"), *wrong]) == 2
    assert wrong[1] not in capsys.readouterr().out
