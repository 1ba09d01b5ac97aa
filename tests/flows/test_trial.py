"""Two strategies compared in a tiny lab: killed once, resumed, and never in the way of the lab itself."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path

import pytest

from realm import Realm
from realm.cli.main import run
from realm.core.errors import HeldError, NotFoundError, UsageError
from realm.flows.context import Lab
from realm.flows.reconcile import reconcile
from realm.flows.trial import TrialPlan, run_trial, trials
from realm.flows.ways import way
from realm.storage.lock import HomeLock
from tiny_lab import REALM, make_lab, wait_until

PLAN = TrialPlan(a="equal", b="preview-heavy", steps=3, seeds=1)
WORDS = ("curriculum", "trial", "--a", "equal", "--b", "preview-heavy", "--steps", "3", "--seeds", "1")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, one_launcher: None) -> Path:
    """Return a lab in which a trial was killed while it trained, and then carried to its end."""
    path = make_lab(tmp_path_factory.mktemp("trial") / "home", drills=True, rows=96)
    text = (path / "realm.yaml").read_text()
    few = "curriculum:\n  problems_per_primitive: 30\n  probe_per_primitive: 2\n"
    (path / "realm.yaml").write_text(text.replace("curriculum:\n", few, 1))
    command = [*REALM, "--home", str(path), *WORDS]
    with (path / "trial.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
        wait_until(path, lambda lab: any(r.started_at for r in lab.runs()))
        process.send_signal(signal.SIGKILL)
        process.wait(timeout=60)
    with Realm(path) as realm:
        assert [trial.decided for trial in trials(realm.lab)] == [None]
        reconcile(realm.lab)  # as `realm up` does: a run of the trial is none of the lab's work
        assert realm.jobs() == []
    with Realm(path) as realm:
        decided = run_trial(realm.lab, PLAN)
        assert [trial.decided for trial in trials(realm.lab)] == [decided]
        assert realm.lab.ledger.events.list(kinds=["evaluated"]) == []  # those of a trial are not the lab's
    return path


def campaigns(lab: Lab) -> list[str]:
    return sorted({r.campaign for r in lab.ledger.runs.list()})


def test_both_sides_begin_with_the_same_checkpoint_and_use_the_same_tokens(home: Path) -> None:
    with Realm(home) as realm:
        [trial] = trials(realm.lab)
        begun, decided = trial.begun, trial.decided
        assert decided is not None
        assert [arm.campaign for arm in (*decided.arms_a, *decided.arms_b)] == campaigns(realm.lab)
        for arm in (*decided.arms_a, *decided.arms_b):
            saved = realm.lab.ledger.checkpoints.list(arm.campaign, "dio")
            assert (saved[0].hash, saved[0].hero_step) == (begun.start, 0)
            assert saved[-1].hash == arm.checkpoint != begun.start
            assert 0.85 * begun.budget_tokens <= arm.tokens <= begun.budget_tokens
            assert all(r.outcome == "done" for r in realm.runs() if r.campaign == arm.campaign)
        assert decided.arms_a[0].checkpoint != decided.arms_b[0].checkpoint
        assert decided.low <= decided.difference <= decided.high
        assert decided.problems > 300  # levels 3 and 4
        assert "this seed alone" in decided.method


def test_the_share_is_that_of_the_stored_evaluations(home: Path) -> None:
    with Realm(home) as realm:
        [trial] = trials(realm.lab)
        assert trial.decided is not None
        for arm in (*trial.decided.arms_a, *trial.decided.arms_b):
            stored = {e.suite: e for e in realm.evaluations(arm.checkpoint)}
            asked = [e for e in stored.values() if e.level in (3, 4)]
            assert arm.share == sum(e.correct for e in asked) / sum(e.total for e in asked)


def test_the_labs_own_campaign_stays_as_it_was(home: Path) -> None:
    with Realm(home) as realm:
        assert [checkpoint.hero_step for checkpoint in realm.checkpoints()] == [0]
        assert realm.models() == []
        assert realm.jobs() == []
        assert realm.lab.ledger.skills.get("first", "dio/bin") is None


def test_a_trial_that_is_complete_is_only_told_again(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Realm(home) as realm:
        runs = len(realm.runs())
        assert run_trial(realm.lab, PLAN) == trials(realm.lab)[0].decided
        assert len(realm.runs()) == runs
    assert run(["--home", str(home), "--json", "curriculum", "trial", "--show"]) == 0
    [shown] = json.loads(capsys.readouterr().out)
    assert shown["decided"]["trial"] == shown["begun"]["trial"]
    assert shown["decided"]["verdict"] in ("a", "b", "undecided")
    assert run(["--home", str(home), "curriculum", "trial", "--show"]) == 0
    assert "preview-heavy - equal: " in capsys.readouterr().out


def test_what_cannot_be_compared_is_refused_before_anything_is_trained(home: Path) -> None:
    with Realm(home) as realm:
        with pytest.raises(NotFoundError, match="catch_up"):
            way(realm.lab, "fair")
        with pytest.raises(NotFoundError, match="dio@latest"):
            run_trial(realm.lab, PLAN.model_copy(update={"start": "dio@77"}))
        with HomeLock(realm.home.root), pytest.raises(HeldError):
            run_trial(realm.lab, PLAN.model_copy(update={"seeds": 2}))
    recipe = home / "recipes" / "spark.yaml"
    text = recipe.read_text()
    recipe.write_text(text.replace("epochs: 1", "steps: 5"))
    try:
        with Realm(home) as realm, pytest.raises(UsageError, match="number of steps"):
            run_trial(realm.lab, PLAN.model_copy(update={"steps": 4}))
    finally:
        recipe.write_text(text)


def test_a_preset_keeps_the_settings_of_single_skills_alone(home: Path) -> None:
    with Realm(home, overrides=["curriculum.skills.bin.weight=3", "curriculum.threshold=0.7"]) as realm:
        strategy, preset = way(realm.lab, "focus"), way(realm.lab, "exam")
        assert (strategy.strategy, strategy.threshold) == ("focus", 0.7)
        assert (preset.threshold, preset.of("bin").weight) == (0.9, 3.0)
