"""Every scenario that comes with the package: its solution scores 1.0, its wrong calls fail as they say."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest

from realm.evaluation.agents.checks import AnyCheck
from realm.evaluation.agents.episode import replay
from realm.evaluation.agents.scenario import Scenario, SuiteName, read_scenarios, shipped

SUITES = get_args(SuiteName)
SCENARIOS = [(suite, scenario) for suite in SUITES for scenario in read_scenarios(shipped(suite))]


def named(value: object) -> str:
    return value.id if isinstance(value, Scenario) else str(value)


@pytest.mark.parametrize(("suite", "scenario"), SCENARIOS, ids=named)
def test_the_solution_passes_and_the_wrong_calls_fail(suite: str, scenario: Scenario) -> None:
    right, wrong = replay(scenario, scenario.solution), replay(scenario, scenario.wrong)
    assert right.score == 1.0, right.notes
    failed = {note.split(":")[0] for note in wrong.notes}
    known = {check.name for check in scenario.all_checks()}
    assert failed & known == set(scenario.fails), wrong.notes
    assert wrong.score < 0.8
    assert (wrong.score == 0) == ("safe_commands" in failed)


def test_the_example_of_the_page_works(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "agent-suites.md").read_text()
    path = tmp_path / "example.yaml"
    path.write_text(page.split("```yaml\n")[1].split("```")[0])
    (scenario,) = read_scenarios(path)
    assert replay(scenario, scenario.solution).score == 1.0
    failed = {note.split(":")[0] for note in replay(scenario, scenario.wrong).notes}
    assert set(scenario.fails) <= failed


def test_doing_nothing_scores_little() -> None:
    for suite in SUITES:
        scenario = read_scenarios(shipped(suite))[0]
        assert replay(scenario, []).score < 0.5


@pytest.mark.parametrize("suite", SUITES)
def test_a_suite_has_six_scenarios(suite: SuiteName) -> None:
    scenarios = read_scenarios(shipped(suite))
    assert len(scenarios) >= 6
    assert len({scenario.goal for scenario in scenarios}) == len(scenarios)


def test_every_check_is_seen_failing() -> None:
    kinds = {kind.model_fields["check"].default for kind in get_args(get_args(AnyCheck)[0])}
    assert kinds == {name for _, scenario in SCENARIOS for name in scenario.fails}
