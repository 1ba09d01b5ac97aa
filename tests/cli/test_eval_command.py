"""`realm eval` over a ledger that holds answers already: no model is needed to look at them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from realm import Realm
from realm.cli.main import run
from realm.core.hashing import hash_bytes
from realm.flows.suites import ask
from realm.ledger.records import NewCheckpoint, NewEvaluation, ProblemResult
from tiny_lab import make_lab

SUITE = {
    "name": "own",
    "title": "Facts",
    "threshold": 0.5,
    "tasks": [
        {"name": "facts", "category": "facts", "task": {"kind": "file", "path": "facts.jsonl"}},
        {
            "name": "more",
            "category": "other",
            "scoring": "graded",
            "task": {"kind": "file", "path": "more.jsonl"},
        },
    ],
}
CONTEXT = {"backend": "transformers 5.3.0", "template": "t", "sampling": "greedy", "seed": "0"}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = make_lab(tmp_path_factory.mktemp("lab") / "home", drills=False)
    (home / "suites").mkdir()
    (home / "suites" / "own.yaml").write_text(yaml.safe_dump(SUITE))
    for name in ("facts", "more"):
        rows = [{"prompt": f"{name} {n}?", "expected": n} for n in range(5)]
        (home / "suites" / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with Realm(home) as lab:
        for step in (0, 10, 20, 30):
            answer_by_hand(lab, step)
    return home


def answer_by_hand(lab: Realm, step: int) -> None:
    """Save a checkpoint that got step / 10 of each five facts right; the one of step 30 by other means."""
    ledger = lab.lab.ledger
    new = {"campaign": "first", "hero": "dio", "size_bytes": 1, "step": step, "hero_step": step}
    saved = ledger.checkpoints.add(NewCheckpoint(hash=hash_bytes(b"%d" % step), **new), None)  # type: ignore[arg-type]
    level = NewEvaluation(checkpoint=saved.hash, hero_step=step, suite="bin-1", skill="bin", level=3)
    ledger.evaluations.add(level, [result("p", float(step == 10))], None)
    if step == 0:
        return
    context = {**CONTEXT, "backend": "vllm 0.32"} if step == 30 else CONTEXT
    for part in ask(lab.lab, f"dio@{step}", "own").parts:
        scores = [1.0] * (step // 10) + [0.0] * (5 - step // 10)
        results = [result(p.key, score) for p, score in zip(part.problems, scores, strict=True)]
        added = NewEvaluation(
            checkpoint=saved.hash,
            hero_step=step,
            suite=part.id,
            kind=part.kind,
            skill=part.skill,
            level=0,
            context=context,
        )
        ledger.evaluations.add(added, results, None)


def result(key: str, score: float) -> ProblemResult:
    notes = () if score else ("not a \x1b[31mfact",)
    return ProblemResult(
        key=key, primitive="questions", correct=score == 1, score=score, answer="so \x1b[2Jit is", notes=notes
    )


Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def realm(home: Path, capsys: pytest.CaptureFixture[str]) -> Command:
    def command(*words: str) -> tuple[int, str, str]:
        code = run(["--home", str(home), "eval", *words])
        out, err = capsys.readouterr()
        return code, out, err

    return command


def document(realm: Command, *words: str, code: int = 0) -> Any:
    given, out, err = realm(*words, "--json")
    assert given == code, err
    return json.loads(out)


def test_what_is_stored_is_shown_and_the_exit_code_is_the_verdict(realm: Command) -> None:
    found = document(realm, "run", "dio@20", "--suite", "own", code=1)
    assert found["score"]["composite"]["mean"] == pytest.approx(0.4)
    assert found["score"]["passed"] is False
    assert found["score"]["categories"] == {"facts": 0.4, "other": 0.4}
    assert found["contexts"] == [CONTEXT]
    assert document(realm, "run", "dio@30", "--suite", "own")["score"]["passed"] is True
    code, out, _ = realm("run", "dio@20", "--suite", "own")
    assert code == 1
    assert "40.0 of 100" in out
    assert "composite   0.400" in out
    assert "not passed" in out


def test_evaluations_and_suites_are_listed(realm: Command) -> None:
    every = document(realm, "list", "--limit", "100")
    assert len(every) == 4 + 3 * 2
    assert {e["hero_step"] for e in document(realm, "list", "dio@10")} == {10}
    assert "facts-file-1-5-" in realm("list")[1]
    named = {suite["name"]: suite for suite in document(realm, "list", "--suites")}
    assert {"own", "lite", "full", "passives"} <= set(named)
    assert named["own"]["title"] == "Facts"
    assert "What the hero drills" in realm("list", "--suites")[1]


def test_answers_are_shown_without_what_could_move_a_cursor(realm: Command) -> None:
    newest = document(realm, "list", "--limit", "1")[0]["id"]
    plain = document(realm, "show", str(newest))
    assert "answers" not in plain
    told = document(realm, "show", str(newest), "--answers")
    assert [a["score"] for a in told["answers"]] == [1.0, 1.0, 1.0, 0.0, 0.0]
    code, out, _ = realm("show", str(newest), "--answers")
    assert code == 0
    assert "✗" in out
    assert "not a [31mfact" in out
    assert "\x1b" not in out


def test_two_models_are_compared(realm: Command) -> None:
    found = document(realm, "compare", "dio@10", "dio@20", "--suite", "own")
    assert [(t["name"], t["wins"], t["losses"]) for t in found["tasks"]] == [("facts", 1, 0), ("more", 1, 0)]
    assert found["overall"]["difference"] == pytest.approx(0.2)
    assert "+0.200" in realm("compare", "dio@10", "dio@20", "--suite", "own")[1]


def test_refusals_say_why_and_what_next(realm: Command) -> None:
    code, _, err = realm("compare", "dio@20", "dio@30", "--suite", "own")
    assert code == 1
    assert "backend: transformers and vllm" in err
    code, _, err = realm("compare", "dio@0", "dio@20", "--suite", "own")
    assert code == 1
    assert "answered 0 of 2 parts" in err
    assert "realm eval run" in err
    assert realm("run", "dio@77", "--suite", "own")[0] == 3
    code, _, err = realm("run", "dio@20", "--suite", "ovn")
    assert code == 3
    assert "own" in err
    assert realm("run", "dio@20", "--size", "huge")[0] == 2
    assert realm("run", "dio@20", "--risk", "0.1")[0] == 2
    assert realm("show", "999")[0] == 3


def test_only_the_curriculums_evaluations_tell_the_best_checkpoint(home: Path) -> None:
    with Realm(home) as lab:
        assert lab.checkpoint("dio@best:accuracy").hero_step == 10
        assert lab.sheet().correct_answers == 1


def test_an_evaluation_can_be_left_to_the_lab(realm: Command, home: Path) -> None:
    queued = document(realm, "run", "dio@0", "--suite", "own", "--no-wait")
    assert document(realm, "run", "dio@0", "--suite", "own", "--no-wait") == queued
    with Realm(home) as lab:
        [job] = lab.jobs()
        assert (job.id, job.kind, job.priority.value) == (queued["job"], "evaluate", "high")
