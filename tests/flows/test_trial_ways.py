"""What a trial may compare, and how far it says it is."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import combinations
from pathlib import Path

import pytest

from realm import Realm
from realm.cli.battle import Battle, plain
from realm.cli.main import run
from realm.core.errors import UsageError
from realm.core.events import Event, TrialAdvanced, TrialBegun
from realm.flows.evaluation import level_suite
from realm.flows.pace import Pace
from realm.flows.trial import TrialPlan, run_trial
from realm.flows.ways import two_ways
from realm.ledger.records import NewCheckpoint, NewEvaluation
from realm.skills.curriculum.presets import PRESETS
from realm.skills.curriculum.strategies import STRATEGIES
from tiny_lab import make_lab

ONE = "bin: {kind: bin, digit_order: lsb, pad_digits: 6, answer: result}"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_lab(tmp_path_factory.mktemp("ways") / "home", drills=False)


@pytest.fixture(scope="module")
def several(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a lab whose hero has two skills."""
    home = make_lab(tmp_path_factory.mktemp("several") / "home", drills=False)
    text = (home / "realm.yaml").read_text()
    assert ONE in text
    (home / "realm.yaml").write_text(text.replace(ONE, f"{ONE}\n      wide: {{kind: bin, pad_digits: 9}}"))
    return home


def refused(home: Path, a: str, b: str, *overrides: str) -> bool:
    with Realm(home, overrides=overrides) as realm:
        try:
            two_ways(realm.lab, a, b)
        except UsageError:
            return True
        return False


@pytest.mark.parametrize("name", [*STRATEGIES, *PRESETS])
def test_nothing_is_compared_with_itself(several: Path, name: str) -> None:
    assert refused(several, name, name)


def test_a_trial_of_two_equal_ways_is_one_message_and_trains_nothing(
    several: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for a, b in (("equal", "equal"), ("equal", "balanced")):
        code = run(["--home", str(several), "curriculum", "trial", "--a", a, "--b", b])
        out, err = capsys.readouterr()
        assert (code, out) == (2, "")
        assert f"{a} against {b} compares nothing: both are the same settings here" in err
    with Realm(several) as realm:
        assert (realm.runs(), realm.checkpoints(), realm.lab.ledger.events.list(["trial_begun"])) == (
            [],
            [],
            [],
        )


def test_every_two_presets_can_be_compared_where_a_hero_has_two_skills(several: Path) -> None:
    assert not any(refused(several, a, b) for a, b in combinations(PRESETS, 2))
    assert not any(refused(several, "focus", name) for name in PRESETS)


def test_strategies_that_spread_alike_are_the_same_way(home: Path, several: Path) -> None:
    for a, b in (("equal", "focus"), ("focus", "catch_up"), ("weighted", "equal"), ("balanced", "catch-up")):
        assert refused(home, a, b)  # one skill gets all the rows whatever the strategy
        assert refused(several, a, b) is (a == "weighted")
        assert refused(several, a, b, "curriculum.skills.wide.enabled=false")
    assert not refused(several, "weighted", "equal", "curriculum.skills.bin.weight=3")
    assert not refused(home, "equal", "focus-weakest")  # its primitives are weighted otherwise
    with Realm(home) as realm, pytest.raises(UsageError, match="dio's skills would get the same from both"):
        run_trial(realm.lab, TrialPlan(a="equal", b="focus", steps=1, seeds=1))


def test_what_a_campaign_of_a_trial_answered_is_no_score_of_the_lab(tmp_path: Path) -> None:
    with Realm(make_lab(tmp_path / "home", drills=False)) as realm:
        found = {"hero": "dio", "hash": "sha256:" + "b" * 64, "size_bytes": 1, "step": 0, "hero_step": 5}
        ledger, suite = realm.lab.ledger, level_suite(realm.lab, "bin", 3)
        ledger.checkpoints.add(NewCheckpoint.model_validate({**found, "campaign": "trial-x-a-0"}), None)
        new = NewEvaluation(
            checkpoint=str(found["hash"]), hero_step=5, suite=suite.id, skill="bin", level=3, kind=suite.kind
        )
        ledger.evaluations.add(new, [], None)
        assert [skill.newest for skill in realm.status().skills] == [None]
        ledger.checkpoints.add(NewCheckpoint.model_validate({**found, "campaign": "first"}), None)
        assert [skill.newest is None for skill in realm.status().skills] == [False]


def test_how_far_a_trial_is_and_how_long_it_still_takes(home: Path) -> None:
    begun = TrialBegun(
        trial="x",
        campaign="first",
        hero="dio",
        a="balanced",
        b="sprint",
        start="sha256:" + "a" * 64,
        hero_step=80,
        seeds=2,
        steps=10,
        budget_tokens=1000,
    )
    told: list[Event] = []
    now = datetime(2026, 1, 1, tzinfo=UTC)
    with Realm(home) as realm:
        realm.attach(told.append)
        pace = Pace(replace(realm.lab, clock=lambda: now), begun)
        pace.tell("sprint", 0, 1, 500)  # it goes on where 1,500 of 4,000 tokens were trained
        now += timedelta(seconds=50)
        pace.tell("balanced", 1, 2, 0)
    first, second = (event for event in told if isinstance(event, TrialAdvanced))
    assert (first.tokens, first.tokens_total, first.left_s) == (1500, 4000, None)
    assert (second.campaign, second.campaigns, second.tokens) == (3, 4, 2000)
    assert second.left_s == 200.0  # 500 tokens in 50 s, and 2,000 are left
    shown = plain(second)
    assert shown is not None
    assert shown.plain == " 50% balanced, seed 1 · campaign 3 of 4 · ETA 3:20"
    assert "of 4" in _drawn(second)


def _drawn(event: TrialAdvanced) -> str:
    from rich.console import Console

    def no_level(skill: str, level: int) -> None:
        raise AssertionError

    battle = Battle("title", no_level, 3)  # type: ignore[arg-type]
    battle.take(event)
    console = Console(width=120)
    with console.capture() as captured:
        console.print(battle.render())
    return captured.get()
