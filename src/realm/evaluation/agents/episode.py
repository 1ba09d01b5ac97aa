"""One scenario being worked at by a model, turn after turn."""

from __future__ import annotations

from collections.abc import Sequence

from realm.core.errors import RefusedError, StateError
from realm.core.records import Message
from realm.evaluation.agents.check import Verdict
from realm.evaluation.agents.evidence import Call
from realm.evaluation.agents.protocol import INSTRUCTIONS, ToolCall, parse, written
from realm.evaluation.agents.scenario import Scenario
from realm.evaluation.agents.world import World
from realm.evaluation.task import Result

_SHOWN = 4_000
"""Most characters of one result that the model is shown."""
_SHOWN_IN_ALL = 40_000
"""Most characters of all results; the work ends there."""
_MISTAKES = 3
"""Turns in a row that are no call, after which the work ends."""
_TRANSCRIPT = 60_000


def prompt(scenario: Scenario) -> tuple[Message, ...]:
    """Return the turns that the work begins with."""
    return (
        Message(role="system", content=f"You are {scenario.me}, a {scenario.role}.\n\n{INSTRUCTIONS}"),
        Message(role="user", content=scenario.goal.strip()),
    )


class AgentEpisode:
    """Let a model work at a scenario, then judge what it left."""

    def __init__(self, scenario: Scenario) -> None:
        self._scenario = scenario
        self._world = World(scenario)
        self._chat = list(prompt(scenario))
        self._turns = self._mistakes = self._shown = 0
        self._result: Result | None = None

    def asks(self) -> tuple[Message, ...] | None:
        """Return the chat so far, None when the work is over."""
        return None if self._result is not None else tuple(self._chat)

    def take(self, answer: str) -> None:
        """Carry out the call in a turn. Raises StateError when the work is over."""
        if self._result is not None:
            raise StateError("this episode is over")
        self._chat.append(Message(role="assistant", content=answer))
        self._turns += 1
        try:
            call = parse(answer)
        except RefusedError as error:
            self._mistakes += 1
            self._tell(f"No call was made: {error.what}")
            over = self._mistakes >= _MISTAKES
        else:
            self._mistakes = 0
            over = self._did(call)
        if over or self._turns >= self._scenario.max_turns or self._shown >= _SHOWN_IN_ALL:
            self.end()

    def end(self) -> None:
        """End the work and judge what it left. Raises StateError when it is over."""
        if self._result is not None:
            raise StateError("this episode is over")
        evidence = self._world.evidence()
        verdicts = [check.judge(evidence) for check in self._scenario.all_checks()]
        notes = [f"{verdict.name}: {verdict.text}" for verdict in verdicts if not verdict.passed]
        transcript = "\n\n".join(f"[{turn.role}]\n{turn.content}" for turn in self._chat[1:])
        self._result = Result(
            score=score(verdicts),
            answer=transcript[:_TRANSCRIPT],
            notes=(*notes, *self._world.sandbox.isolation.missing()),
        )
        self._world.close()

    def result(self) -> Result:
        """Return the score and what failed. Raises StateError while the work goes on."""
        if self._result is None:
            raise StateError("this episode is not over")
        return self._result

    def close(self) -> None:
        """Remove the sandbox. Harmless when repeated."""
        self._world.close()

    def _did(self, call: ToolCall) -> bool:
        done = self._world.do(call)
        if done.tool == "finish":
            return True
        self._tell(_told(done))
        return False

    def _tell(self, text: str) -> None:
        self._shown += len(text)
        self._chat.append(Message(role="user", content=text))


def score(verdicts: Sequence[Verdict]) -> float:
    """Return the weighted share of checks that passed, 0 where a hard one failed."""
    if any(verdict.hard and not verdict.passed for verdict in verdicts):
        return 0.0
    passed = sum(verdict.weight for verdict in verdicts if verdict.passed)
    return passed / sum(verdict.weight for verdict in verdicts)


def replay(scenario: Scenario, calls: Sequence[ToolCall]) -> Result:
    """Return what a list of calls is worth, as if a model had made them."""
    episode = AgentEpisode(scenario)
    try:
        for call in calls:
            if episode.asks() is not None:
                episode.take(written(call))
        while episode.asks() is not None:
            episode.take('{"tool": "finish"}')
        return episode.result()
    finally:
        episode.close()


def _told(call: Call) -> str:
    output = call.output.rstrip("\n")
    if len(output) > _SHOWN:
        half = _SHOWN // 2
        output = f"{output[:half]}\n… {len(output) - _SHOWN:,} characters left out …\n{output[-half:]}"
    return f"Result of call {call.number} ({call.outcome}):\n{output}".rstrip()
