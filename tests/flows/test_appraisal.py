"""What the training behind each checkpoint was worth, as the lab tells it."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from realm import Realm
from realm.core.events import AlertRaised
from realm.flows.appraisal import appraisals, appraise_run, appraise_stretch, evaluated, stretches
from realm.flows.status import sheet
from realm.growth.rules import experience
from realm.jobs.tail import EventTail
from tiny_lab import chat_rows, make_lab, trained_here


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = make_lab(tmp_path_factory.mktemp("appraisal") / "home", drills=False)
    (home / "chats.jsonl").write_text(chat_rows(80))
    assert trained_here(home, home / "chats.jsonl").state == "done"
    return home


def test_every_evaluated_checkpoint_is_appraised_once(home: Path) -> None:
    with Realm(home) as lab:
        told = appraisals(lab.lab)
        saved = [c for c in lab.checkpoints(50) if c.run is not None]
        assert set(told) == {c.hash for c in saved} != set()
        [run] = {c.run for c in saved}
        before = len(lab.lab.ledger.events.list(["appraised"]))
        appraise_run(lab.lab, str(run))
        assert len(lab.lab.ledger.events.list(["appraised"])) == before


def test_figures_follow_from_what_was_measured(home: Path) -> None:
    with Realm(home) as lab:
        told = sorted(appraisals(lab.lab).values(), key=lambda each: each.hero_step)
        steps = [each.hero_step for each in told]
        losses = {c.hash: c.stats.get("loss", 0.0) for c in lab.checkpoints(50)}
        for each, taken in zip(told, [steps[0], *(b - a for a, b in itertools.pairwise(steps))], strict=True):
            assert each.effort == pytest.approx(taken * losses[each.hash])
            assert each.experience == pytest.approx(each.effort * each.quality * each.factor)
            checks = {name: status for name, status, _, _ in each.checks}
            assert (
                checks["finite"] == checks["masking"] == checks["evaluation"] == checks["checkpoint"] == "ok"
            )
            assert {"gradients", "rollbacks", "alerts"} <= set(checks)
            assert set(each.unknown) == {"validation", "conventions"}
        total = sum(each.experience for each in told)
        assert experience(list(stretches(lab.lab, lab.checkpoints(50)))) == pytest.approx(total)
        assert sheet(lab.lab).experience == pytest.approx(total)


def test_an_alert_within_a_stretch_lowers_what_it_was_worth(home: Path) -> None:
    with Realm(home) as lab:
        saved = lab.lab.ledger.checkpoints.list("first", "dio")
        measured = evaluated(lab.lab, saved)[saved[1].hash]
        seen = tuple(EventTail(lab.home.events(str(saved[1].run))).read())
        alert = AlertRaised(run=str(saved[1].run), step=1, alert="divergence", what="rising", hint="look")
        before = appraise_stretch(lab.lab, saved[0], saved[1], measured, seen)
        after = appraise_stretch(lab.lab, saved[0], saved[1], measured, (*seen, alert))
    assert before is not None
    assert after is not None
    assert after.factor < before.factor
    assert after.experience < before.experience
