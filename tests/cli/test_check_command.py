"""`realm data check --depth`: a file held against the checks of a build."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from realm import Realm
from tiny_lab import realm


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Return a file of four rows: one twice, one whose code does not parse."""
    rows = [
        ("how many?", "three"),
        ("how many?", "three"),
        ("and code?", "```python\ndef f(:\n```"),
        ("more?", "yes"),
    ]
    chats = [
        [{"role": "user", "content": asked}, {"role": "assistant", "content": said}] for asked, said in rows
    ]
    path = tmp_path / "mine.jsonl"
    path.write_text("".join(json.dumps({"messages": chat}) + "\n" for chat in chats), encoding="utf-8")
    return path


def test_depth_decides_which_checks_look(file: Path) -> None:
    assert realm(None, "data", "check", str(file)).returncode == 0
    done = realm(None, "--json", "data", "check", str(file), "--depth", "standard")
    assert done.returncode == 1
    found = json.loads(done.stdout)["examination"]
    assert (found["rows"], found["kept"]) == (4, 2)
    assert {each["reason"] for each in found["dropped"]} == {
        "exact_duplicates: exact duplicate",
        "syntax: code does not parse",
    }
    assert "leakage: leakage not checked: no evaluation set given" in [
        each["reason"] for each in found["told"]
    ]


def test_in_a_realm_its_held_out_problems_and_settings_count(file: Path, tmp_path: Path) -> None:
    lab = Realm.create(tmp_path / "lab", template="dio")
    with lab:
        skill = lab.lab.skill("bin")
        problem = skill.heldout(skill.levels()[3].level, 1)[0]
    (home := lab.home.root / "realm.yaml").write_text(
        home.read_text() + "\ncorpus: {checks: [{kind: sizes, row_chars: 13}]}\n"
    )
    chat = [
        *({"role": m.role, "content": m.content} for m in problem.messages),
        {"role": "assistant", "content": "1"},
    ]
    file.write_text(json.dumps({"messages": chat}) + "\n", encoding="utf-8")
    done = realm(lab.home.root, "--json", "data", "check", str(file), "--depth", "standard")
    found = json.loads(done.stdout)["examination"]
    assert [each["reason"] for each in found["dropped"]] == ["sizes: row too long"]
    home.write_text(home.read_text().replace("row_chars: 13", "row_chars: 1300"))
    done = realm(lab.home.root, "--json", "data", "check", str(file), "--depth", "standard")
    found = json.loads(done.stdout)["examination"]
    assert [each["reason"] for each in found["dropped"]] == ["leakage: an evaluation problem"]


def test_a_wrong_depth_names_the_right_ones(file: Path) -> None:
    done = realm(None, "data", "check", str(file), "--depth", "abyss")
    assert (done.returncode, "quick, standard, deep" in done.stderr) == (2, True)
