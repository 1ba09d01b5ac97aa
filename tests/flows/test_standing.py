"""The gate asked about a model, the regression watch and the transfer report, over answers made by hand."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from realm import Realm
from realm.cli.battle import plain
from realm.cli.main import run
from realm.core.events import RegressionFound
from realm.core.hashing import hash_bytes
from realm.evaluation.suite import Suite
from realm.flows.context import Lab
from realm.flows.evaluation import level_suite
from realm.flows.judging import Case
from realm.flows.promotion import judge, mastered_suites
from realm.flows.regression import ranking, tell_regression
from realm.flows.skills import mastered_levels, skill_state, store_skill_state
from realm.flows.suites import ask
from realm.ledger.records import CheckpointRecord, NewCheckpoint, NewEvaluation, ProblemResult
from tiny_lab import make_lab

CONTEXT = {"backend": "transformers 5", "template": "t", "sampling": "greedy", "dtype": "float32"}
SUITE = {
    "name": "own",
    "tasks": [
        {"name": "drilled", "drilled": {"rungs": 1}},
        {"name": "sy", "task": {"kind": "skill", "skill": "sy", "levels": [5]}},
        {"name": "facts", "task": {"kind": "file", "path": "facts.jsonl"}},
    ],
}
Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    """A lab whose champion, of step 10, was right in five of six answers of the one mastered level."""
    home = make_lab(tmp_path / "home", drills=False)
    (home / "suites").mkdir()
    (home / "suites" / "own.yaml").write_text(yaml.safe_dump(SUITE))
    rows = [{"prompt": f"{n}?", "expected": n} for n in range(40)]
    (home / "suites" / "facts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with Realm(home) as realm:
        lab = realm.lab
        state = skill_state(lab, "bin")
        level = state.start_level
        mastered = {"mastered_level": level, "training_level": level + 1}
        store_skill_state(lab, "bin", state.model_copy(update=mastered), None)
        checkpoint = saved(lab, 10)
        [suite] = mastered_suites(lab)
        answer(lab, checkpoint, suite, wrong_of=6)
        decision = judge(lab, checkpoint, [suite])
        assert decision.passed
        model = lab.ledger.models.register("first", "dio", checkpoint.hash, scores={}, fence=None)
        kept = {**decision.model_dump(mode="json"), "mastered": mastered_levels(lab)}
        lab.ledger.models.promote(model.name, expected_revision=0, decision=kept, fence=None)
        yield lab


def saved(lab: Lab, step: int) -> CheckpointRecord:
    new = NewCheckpoint(
        campaign="first", hero="dio", hash=hash_bytes(b"%d" % step), size_bytes=1, step=step, hero_step=step
    )
    return lab.ledger.checkpoints.add(new, None)


def answer(
    lab: Lab,
    checkpoint: CheckpointRecord,
    suite: Suite,
    wrong_of: int,
    sure: float | None = 0.8,
    **context: str,
) -> int:
    """Let a checkpoint get one of so many problems wrong; 0 for none."""
    results = []
    for place, problem in enumerate(suite.problems):
        right = not wrong_of or place % wrong_of > 0
        how = {"correct": right, "score": float(right), "answer": "", "confidence": sure}
        results.append(ProblemResult(key=problem.key, primitive=problem.primitive, **how))  # type: ignore[arg-type]
    new = NewEvaluation(
        checkpoint=checkpoint.hash,
        hero_step=checkpoint.hero_step,
        suite=suite.id,
        kind=suite.kind,
        skill=suite.skill,
        level=suite.level,
        context={**CONTEXT, **context},
    )
    return lab.ledger.evaluations.add(new, results, None).id


@pytest.fixture
def realm(lab: Lab, capsys: pytest.CaptureFixture[str]) -> Command:
    def command(*words: str) -> tuple[int, str, str]:
        code = run(["--home", str(lab.home.root), *words])
        return code, *capsys.readouterr()

    return command


def document(realm: Command, *words: str, code: int = 0) -> Any:
    given, out, err = realm(*words, "--json")
    assert given == code, err
    return json.loads(out)


def test_a_better_model_passes_and_nothing_changes(lab: Lab, realm: Command) -> None:
    answer(lab, saved(lab, 20), mastered_suites(lab)[0], wrong_of=0, sure=0.9)
    found = document(realm, "gate", "dio@20")
    checks = {check["name"]: check for check in found["decision"]["checks"]}
    assert found["decision"]["passed"]
    assert found["champion"] == "dio-v1"
    assert checks["comparable"]["passed"]
    assert not checks["calibration"]["skipped"]
    assert checks["calibration"]["figures"]["after"] == pytest.approx(0.1)
    code, out, _ = realm("gate", "dio@20")
    assert (code, "better than the champion" in out) == (0, True)
    assert [model.name for model in lab.ledger.models.list()] == ["dio-v1"]
    assert len(lab.ledger.models.promotions("first", "dio")) == 1
    assert lab.queue.list() == []


def test_a_refused_model_is_told_why(lab: Lab, realm: Command) -> None:
    suite = mastered_suites(lab)[0]
    answer(lab, saved(lab, 20), suite, wrong_of=4)
    code, out, _ = realm("gate", "dio@20")
    assert code == 1
    assert "not shown to be better than the champion" in out
    answer(lab, saved(lab, 30), suite, wrong_of=0, template="another", dtype="bfloat16")
    found = document(realm, "gate", "dio@30", code=1)
    assert found["decision"]["reasons"] == [
        "champion and candidate were not measured alike: template: t and another; dtype: float32 and bfloat16"
    ]


def test_a_model_that_boasts_is_refused_by_its_calibration(lab: Lab, realm: Command) -> None:
    suite = mastered_suites(lab)[0]
    answer(lab, saved(lab, 20), suite, wrong_of=0, sure=0.3)
    found = document(realm, "gate", "dio@20", code=1)
    assert [c["name"] for c in found["decision"]["checks"] if not c["passed"]] == ["calibration"]


def test_the_champion_is_shown_with_its_stored_decision(lab: Lab, realm: Command) -> None:
    code, _, err = realm("gate", "dio@champion")
    assert code == 1
    assert "is the champion of dio already" in err
    found = document(realm, "gate", "dio-v1", "--stored")
    assert (found["champion"], found["decision"]["passed"]) == (None, True)
    assert found["at"]
    assert "without a champion, decided" in realm("gate", "dio@10", "--stored")[1]
    saved(lab, 20)
    assert realm("gate", "dio@20", "--stored")[0] == 3
    assert realm("gate", "dio@77")[0] == 3


def test_what_is_missing_is_one_job_for_both(lab: Lab) -> None:
    saved(lab, 20)
    case = Case(lab, "dio@20")
    assert case.missing == len(case.suites[0].problems)  # the champion has answered
    job = case.begin()
    assert job is not None
    assert (job.kind, job.priority.value) == ("judge", "high")
    assert Case(lab, "dio@20").begin() == job
    decision = case.judged().decision
    assert not decision.passed
    assert "0 of" in decision.reasons[0]


def test_calibration_is_shown_with_its_table(lab: Lab, realm: Command) -> None:
    suite = mastered_suites(lab)[0]
    number = answer(lab, saved(lab, 20), suite, wrong_of=4, sure=0.95)
    found = document(realm, "eval", "show", str(number))["calibration"]
    right = sum(place % 4 > 0 for place in range(len(suite.problems))) / len(suite.problems)
    assert found["width_error"] == pytest.approx(0.95 - right)
    assert found["mass_error"] == pytest.approx(0.95 - right)
    assert found["temperature"] > 1
    assert found["corrected_error"] < 0.1
    assert sum(row["answers"] for row in found["table"]) == len(suite.problems)
    out = realm("eval", "show", str(number))[1]
    assert f"error {0.95 - right:.3f} in bins equally wide" in out
    unknown = answer(lab, saved(lab, 30), suite, wrong_of=4, sure=None)
    assert document(realm, "eval", "show", str(unknown))["calibration"] is None
    assert "calibration  unknown" in realm("eval", "show", str(unknown))[1]


def test_a_checkpoint_that_fell_behind_is_told_once_and_the_way_back_named(lab: Lab, realm: Command) -> None:
    suite = mastered_suites(lab)[0]
    answer(lab, saved(lab, 20), suite, wrong_of=0)
    answer(lab, saved(lab, 30), suite, wrong_of=0, template="another")
    tell_regression(lab)
    assert told(lab) == []  # nothing is comparable with the newest
    worse = saved(lab, 40)
    answer(lab, worse, suite, wrong_of=2)
    answer(lab, worse, level_suite(lab, "bin", suite.level + 1), wrong_of=1)  # nobody else was asked this
    tell_regression(lab)
    tell_regression(lab)
    [event] = told(lab)
    assert (event.hero_step, event.alarm, event.best_hash) == (40, "critical", hash_bytes(b"20"))
    line = plain(event)
    assert line is not None
    assert "fell behind" in line.plain
    found = document(realm, "eval", "rank", code=1)
    assert [standing["hero_step"] for standing in found["ranked"]] == [20, 10, 40]
    assert found["parts"] == [suite.id]
    assert [left["name"] for left in found["left_out"]] == [
        lab.ledger.checkpoints.get(hash_bytes(b"30")).name
    ]
    assert found["rollback"]["checkpoint"] == hash_bytes(b"20")
    code, out, _ = realm("eval", "rank")
    assert code == 1
    assert "critical" in out
    assert "go back to" in out


@pytest.mark.parametrize(
    ("settings", "alarm"),
    [
        ((), "critical"),  # it falls from 1 to 1/2
        (("regression.critical=0.6",), "warning"),
        (("regression.warning=0.6", "regression.critical=0.7"), "ok"),
        (("regression.alpha=1.0e-30",), "ok"),
    ],
)
def test_realm_yaml_says_which_drop_is_an_alarm(
    lab: Lab, realm: Command, settings: tuple[str, ...], alarm: str
) -> None:
    [suite] = mastered_suites(lab)
    answer(lab, saved(lab, 20), suite, wrong_of=0)
    answer(lab, saved(lab, 30), suite, wrong_of=2)
    given = [word for setting in settings for word in ("--set", setting)]
    found = document(realm, "eval", "rank", *given, code=0 if alarm == "ok" else 1)
    assert [(s["hero_step"], s["alarm"]) for s in found["ranked"]][-1] == (30, alarm)
    with Realm(lab.home.root, overrides=settings) as changed:
        tell_regression(changed.lab)
    [event] = told(lab) or [None]
    assert (event.alarm if event else None) == (alarm if "alpha" not in str(settings) else None)


def told(lab: Lab) -> list[RegressionFound]:
    kept = (event for _, _, event in lab.ledger.events.list(["regression_found"]))
    return [event for event in kept if isinstance(event, RegressionFound)]


def test_a_suite_says_what_is_ranked(lab: Lab, realm: Command) -> None:
    assert len(ranking(lab).ranked) == 1
    code, _, err = realm("eval", "rank", "--suite", "own")
    assert code == 1
    assert "has answered this suite" in err
    for step, wrong_of in ((20, 0), (30, 9)):
        checkpoint = saved(lab, step)
        for part in ask(lab, f"dio@{step}", "own").parts:
            answer(lab, checkpoint, part, wrong_of)
    found = document(realm, "eval", "rank", "--suite", "own")
    assert [standing["hero_step"] for standing in found["ranked"]] == [20, 30]
    assert found["rollback"] is None
    assert len(found["parts"]) == 3


def test_transfer_tells_what_was_drilled_from_what_was_not(lab: Lab, realm: Command) -> None:
    for step, wrong in ((0, {"bin": 2, "sy": 2, "facts": 0}), (20, {"bin": 0, "sy": 2, "facts": 2})):
        checkpoint = saved(lab, step)
        for part in ask(lab, f"dio@{step}", "own", size="full").parts:
            answer(lab, checkpoint, part, wrong[part.skill])
    found = document(realm, "eval", "transfer", "--suite", "own", "--size", "full")
    rows = {row["difference"]["name"]: row for row in found["report"]["rows"]}
    assert (rows["own/bin"]["kind"], rows["own/bin"]["trained"], rows["own/bin"]["label"]) == (
        "skill",
        True,
        "gained",
    )
    assert (rows["own/sy"]["trained"], rows["own/sy"]["label"]) == (False, "no difference shown")
    assert (rows["own/facts"]["kind"], rows["own/facts"]["label"]) == ("benchmark", "lost")
    assert any(row["kind"] == "primitive" and row["trained"] for row in found["report"]["rows"])
    out = realm("eval", "transfer", "dio@0", "dio@20", "--suite", "own", "--size", "full")[1]
    assert "lost        own/facts" in out
    assert "transferred nothing shown" in out
