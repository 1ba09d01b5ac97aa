"""Work with tools in a sandbox: work items, git, conventions, planning and code."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from realm.core.config import Config as BaseConfig
from realm.core.errors import NotFoundError
from realm.core.hashing import hash_json, short
from realm.core.paths import expanded
from realm.evaluation.agents.episode import AgentEpisode, prompt
from realm.evaluation.agents.protocol import written
from realm.evaluation.agents.scenario import Scenario, SuiteName, content, read_scenarios, shipped
from realm.evaluation.task import PER_PRIMITIVE, Episode, Size
from realm.skills.skill import Problem

_RULES = "2"
"""Version of the tools, the sandbox and the checks."""


class Agent:
    """Let a model work at scenarios of one suite."""

    class Config(BaseConfig):
        """Which scenarios."""

        kind: Literal["agent"] = "agent"
        suite: SuiteName
        path: Path | None = None
        """A file of scenarios of your own, in place of those that come with the package."""

    turn_tokens = 512

    def __init__(self, config: Config) -> None:
        self.config = config
        self._scenarios = read_scenarios(expanded(config.path) if config.path else shipped(config.suite))
        self.version = f"{_RULES}-{short(hash_json(content(self._scenarios)))}"

    def problems(self, size: Size) -> tuple[Problem, ...]:
        """Return one problem a scenario; the suite is the primitive."""
        return tuple(self._problem(scenario) for scenario in self._scenarios[: PER_PRIMITIVE[size]])

    def begin(self, problem: Problem) -> Episode:
        """Make the scenario's sandbox. Raises NotFoundError for a problem of another suite."""
        return AgentEpisode(self._scenario(problem.key))

    def _scenario(self, key: str) -> Scenario:
        named = {self._key(scenario): scenario for scenario in self._scenarios}
        if key not in named:
            raise NotFoundError(f"no scenario is called {key}", hint=f"there are: {', '.join(named)}")
        return named[key]

    def _problem(self, scenario: Scenario) -> Problem:
        return Problem(
            key=self._key(scenario),
            primitive=self.config.suite,
            level=scenario.level,
            messages=prompt(scenario),
            expected=written(scenario.solution[0]),
        )

    def _key(self, scenario: Scenario) -> str:
        return f"{self.config.suite} {scenario.id}"
