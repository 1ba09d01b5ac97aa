"""Conventions that were built from, against those collected since."""

from __future__ import annotations

from pathlib import Path

import pytest

from tiny_lab import make_lab, realm, realm_json

TEXTS = {
    "CLAUDE.md": "# Tests\n\nRun the tests before every commit, and never push to main.\n\n"
    "# Names\n\nA module is named by what it holds. Say it in one word where one is enough.\n",
    "docs/style.md": "# Errors\n\nAn error says what happened, where it happened and what to do next.\n",
}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("drift")
    home = make_lab(folder / "home", drills=False)
    for name, text in TEXTS.items():
        path = folder / "town" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    realm_json(home, "data", "add", str(folder / "town"), "--kind", "documents")
    realm_json(home, "data", "build")
    return home


def test_nothing_has_moved_right_after_a_build(home: Path) -> None:
    found = realm_json(home, "drift")
    assert found["report"]["score"] == 0.0
    assert not found["report"]["retrain"]
    files = {kind["kind"]: kind["files"] for kind in found["report"]["kinds"]}
    assert files == {"conventions": 3, "formulas": 0, "config": 1}


def test_a_rewritten_convention_is_seen_once_it_is_collected(home: Path) -> None:
    town = home.parent / "town"
    (town / "CLAUDE.md").write_text("# Tests\n\nTesting is the release manager's business from now on.\n")
    (town / "docs" / "style.md").write_text("# Errors\n\nThrow whatever the caller might like to read.\n")
    assert realm_json(home, "drift")["report"]["score"] == 0.0
    realm_json(home, "data", "add", str(town), "--kind", "documents")
    done = realm(home, "drift")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "train on it" in done.stdout
    assert "~ " in done.stdout
    assert "- " in done.stdout  # the section on names is gone
    listed = realm(home, "--json", "drift")
    assert listed.returncode == 1


def test_without_a_build_there_is_nothing_to_compare(tmp_path: Path) -> None:
    home = make_lab(tmp_path / "home", drills=False)
    done = realm(home, "drift")
    assert done.returncode == 3
    assert "realm data build" in done.stderr
