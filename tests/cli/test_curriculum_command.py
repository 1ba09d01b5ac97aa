from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from realm import Realm
from realm.cli.main import run
from realm.flows.evaluation import level_suite
from realm.ledger.records import NewCheckpoint, NewEvaluation, ProblemResult
from realm.skills.curriculum.presets import PRESETS
from realm.skills.curriculum.strategies import STRATEGIES
from realm.skills.skill import Problem
from tiny_lab import make_lab

Command = Callable[..., tuple[int, str, str]]
"""Takes the words behind `realm`; returns exit code, standard output and standard error."""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_lab(tmp_path_factory.mktemp("lab") / "home", drills=False)


@pytest.fixture
def realm(capsys: pytest.CaptureFixture[str]) -> Command:
    def command(home: Path | None, *words: str) -> tuple[int, str, str]:
        code = run([*(["--home", str(home)] if home else []), *words])
        out, err = capsys.readouterr()
        return code, out, err

    return command


def document(realm: Command, home: Path | None, *words: str) -> Any:
    code, out, err = realm(home, "--json", *words)
    assert code == 0, err
    return json.loads(out)


def test_a_new_hero_is_shown_with_what_it_needs(home: Path, realm: Command) -> None:
    found = document(realm, home, "curriculum", "show")
    assert (found["hero"], found["preset"], found["strategy"]) == ("dio", "balanced", "equal")
    [skill] = found["skills"]
    assert (skill["mastered_level"], skill["training_level"], skill["streak"]) == (0, 3, 0)
    assert sum(skill["next_rows"].values()) == 320
    assert skill["missing"] == ["level 3 has not been evaluated yet", "3 more passes in a row of 3"]
    assert {share for _, share in skill["weakness"]} == {None}
    text = realm(home, "curriculum", "show")[1]
    assert "bin, to advance: level 3 has not been evaluated yet" in text
    assert "errors on training problems: not measured yet" in text


def test_a_level_is_set_with_a_reason_and_shown(home: Path, realm: Command) -> None:
    event = document(
        realm, home, "curriculum", "set", "bin", "--level", "4", "--reason", "came from\x1b[1m elsewhere"
    )
    assert (event["before"], event["level"]) == (3, 4)
    assert "set from level 3 to 4: came from[1m elsewhere" in realm(home, "curriculum", "show")[1]


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["bin", "--level", "5"], 2, "--reason"),
        (["--level", "5", "--reason", "x"], 2, "needs a skill"),
        (["bin", "--level", "5", "--reason", "x", "--weight", "2"], 2, "alone"),
        (["bin", "--level", "1", "--reason", "x"], 2, "these can be: 3"),
        (["bin", "--level", "99", "--reason", "x"], 3, "99"),
        (["sy", "--level", "3", "--reason", "x"], 3, "there are: bin"),
        (["sy", "--weight", "3"], 3, "there are: bin"),
        (["--weight", "3"], 2, "need a skill"),
        (["--preset", "sprnt"], 2, "sprint"),
        (["bin", "--weight", "0"], 2, "weight"),
        ([], 2, "nothing to set"),
    ],
)
def test_wrong_settings_are_refused(
    home: Path, realm: Command, words: list[str], code: int, told: str
) -> None:
    found, out, err = realm(home, "curriculum", "set", *words)
    assert (found, out) == (code, "")
    assert told in err


def test_settings_are_printed_and_the_file_stays_its_owners(home: Path, realm: Command) -> None:
    before = (home / "realm.yaml").read_bytes()
    code, out, _ = realm(home, "curriculum", "set", "bin", "--off", "--priority", "2", "--strategy", "focus")
    assert code == 0
    assert out.splitlines()[1:] == [
        "curriculum:",
        "  strategy: focus",
        "  skills:",
        "    bin:",
        "      enabled: false",
        "      priority: 2",
    ]
    told = document(realm, home, "curriculum", "set", "--preset", "sprint")
    assert told["file"] == str(home / "realm.yaml")
    assert (home / "realm.yaml").read_bytes() == before


def test_presets_and_strategies_need_no_realm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, realm: Command
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("REALM_HOME", raising=False)
    found = document(realm, None, "curriculum", "presets")
    assert (list(found["presets"]), list(found["strategies"])) == (list(PRESETS), list(STRATEGIES))
    text = realm(None, "curriculum", "presets")[1]
    assert all(name in text for name in (*PRESETS, *STRATEGIES))
    assert list(tmp_path.iterdir()) == []


def test_there_was_no_trial_yet(home: Path, realm: Command) -> None:
    assert document(realm, home, "curriculum", "trial", "--show") == []
    assert "no trial yet" in realm(home, "curriculum", "trial", "--show")[1]
    code, _, err = realm(home, "curriculum", "trial", "--a", "fair")
    assert code == 3
    assert "neither a strategy nor a preset" in err


def test_the_report_names_what_is_weak(tmp_path: Path, realm: Command) -> None:
    home = make_lab(tmp_path / "home", drills=False)
    assert realm(home, "skill", "report")[0] == 3
    with Realm(home) as opened:
        lab = opened.lab
        new = NewCheckpoint(
            campaign="first", hero="dio", hash="sha256:" + "a" * 64, size_bytes=1, step=0, hero_step=5
        )
        checkpoint = lab.ledger.checkpoints.add(new, None)
        suite = level_suite(lab, "bin", 3)
        wrong = {problem.key for problem in suite.problems if problem.primitive == "bitwise_or"}
        wrong |= {problem.key for problem in suite.problems if problem.primitive == "binary_compare"}
        wrong -= {next(p.key for p in suite.problems if p.primitive == "binary_compare")}
        answers = [graded(problem, problem.key not in wrong) for problem in suite.problems]
        evaluation = NewEvaluation(
            checkpoint=checkpoint.hash, hero_step=5, suite=suite.id, skill="bin", level=3
        )
        lab.ledger.evaluations.add(evaluation, answers, None)
    [found] = document(realm, home, "skill", "report", "bin", "--model", "dio@5")
    assert found["weak"] == ["bitwise_or", "binary_compare"]
    assert [row["share"] for row in found["primitives"][2:]] == [1.0] * (len(found["primitives"]) - 2)
    assert found["primitives"][1]["answers"]["correct"] == 1
    text = realm(home, "skill", "report")[1]
    assert f"bin, level 3, by {checkpoint.name}" in text
    assert "weak: bitwise_or, binary_compare" in text
    assert document(realm, home, "skill", "report", "--threshold", "0.01")[0]["weak"] == ["bitwise_or"]
    [skill] = document(realm, home, "curriculum", "show")["skills"]
    assert "bitwise_or: 0.000, 0.75 are needed" in skill["missing"]
    assert skill["newest"]["correct"] == len(answers) - len(wrong)


def graded(problem: Problem, right: bool) -> ProblemResult:
    return ProblemResult(
        key=problem.key,
        primitive=problem.primitive,
        correct=right,
        answer=problem.expected if right else "",
        score=float(right),
    )
