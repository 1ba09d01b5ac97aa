"""How a model is spoken to: turns, mistakes, caps; and the task kind as an evaluation sees it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realm.core.errors import ConfigError, DataError, NotFoundError, RefusedError, StateError
from realm.evaluation.agents.checks.repository import ForcePush, OwnMerge, PushToMain
from realm.evaluation.agents.episode import AgentEpisode
from realm.evaluation.agents.protocol import LONGEST_TURN, Finish, Run, parse, written
from realm.evaluation.agents.scenario import Scenario, read_scenarios
from realm.evaluation.agents.world import World
from realm.evaluation.task import TASKS

LINES = """
- id: small
  title: Small
  role: crew
  me: shop/crew/mia
  goal: Do it.
  programs: true
  max_turns: 4
  files: {a.txt: "a\\n"}
  checks: [{check: ran, command: ls}]
  solution: [ls]
  wrong: []
  fails: [ran]
"""


@pytest.fixture
def scenario(tmp_path: Path) -> Scenario:
    path = tmp_path / "own.yaml"
    path.write_text(LINES)
    return read_scenarios(path)[0]


@pytest.fixture
def episode(scenario: Scenario) -> Iterator[AgentEpisode]:
    made = AgentEpisode(scenario)
    yield made
    made.close()


def call(command: str) -> str:
    return written(Run(args=Run.Args(command=command)))


@pytest.mark.parametrize(
    "turn",
    [
        '{"tool": "run", "args": {"command": "ls"}}',
        '```json\n{"tool": "run", "args": {"command": "ls"}}\n```',
        'I look first.\n\n```\n{"tool": "run",\n "args": {"command": "ls"}}\n```\nThen I go on.',
    ],
)
def test_a_call_is_read(turn: str) -> None:
    assert parse(turn) == Run(args=Run.Args(command="ls"))


@pytest.mark.parametrize(
    "turn",
    [
        "",
        "ls",
        '["run"]',
        "{",
        '{"tool": "run"}',
        '{"tool": "run", "args": {"command": 3}}',
        '{"tool": "run", "args": {"command": "ls", "cwd": "/"}}',
        '{"tool": "run", "args": {"command": "ls"}, "more": 1}',
        '{"tool": "shell", "args": {"command": "ls"}}',
        '{"tool": "run", "tool": "finish", "args": {"command": "ls"}}',
        '{"tool": "run", "args": {"command": "ls"}} and then',
        '```json\n{"tool": "finish"}\n```\n```json\n{"tool": "finish"}\n```',
        '```json\n{"tool": "finish"}',
        "[" * 5000,
        '{"tool": ' * 5000,
        "x" * (LONGEST_TURN + 1),
        '{"tool": "finish", "args": {"answer": "\\ud800"}}',
    ],
)
def test_what_is_no_call_is_refused_with_a_reason(turn: str) -> None:
    with pytest.raises(RefusedError):
        parse(turn)


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=200) | st.text(alphabet='{}[]":,`\n toolrunargs', max_size=200))
def test_any_turn_is_read_or_refused(turn: str) -> None:
    try:
        parse(turn)
    except RefusedError:
        return


def test_a_written_call_is_read_again() -> None:
    for made in (
        Finish(args=Finish.Args(answer="WAKE")),
        Run(args=Run.Args(command='git commit -m "``` x"')),
    ):
        assert parse(written(made)) == made


def test_an_episode_goes_on_until_finish(episode: AgentEpisode) -> None:
    first = episode.asks()
    assert first is not None
    assert [turn.role for turn in first] == ["system", "user"]
    with pytest.raises(StateError):
        episode.result()
    episode.take(call("ls"))
    told = episode.asks()
    assert told is not None
    assert told[-1].content == "Result of call 1 (done):\na.txt"
    episode.take('{"tool": "finish"}')
    assert episode.asks() is None
    assert episode.result().score == 1.0
    assert "a.txt" in episode.result().answer
    with pytest.raises(StateError):
        episode.take(call("ls"))
    episode.close()


def test_turns_are_capped(episode: AgentEpisode) -> None:
    for _ in range(4):
        episode.take(call("pwd"))
    assert episode.asks() is None
    assert episode.result().score < 0.5


def test_work_can_be_ended_and_is_judged_by_what_was_done(episode: AgentEpisode) -> None:
    episode.take(call("ls"))
    episode.end()
    assert episode.asks() is None
    assert episode.result().score == 1.0
    assert "a.txt" in episode.result().answer
    with pytest.raises(StateError):
        episode.end()


def test_three_turns_without_a_call_end_it(episode: AgentEpisode) -> None:
    episode.take("hello")
    told = episode.asks()
    assert told is not None
    assert "exactly one call" in told[-1].content
    episode.take("hello")
    episode.take("hello")
    assert episode.asks() is None


def test_long_output_is_cut_in_the_middle(episode: AgentEpisode) -> None:
    episode.take(call("python -c \"print('x' * 30000)\""))
    told = episode.asks()
    assert told is not None
    assert len(told[-1].content) < 5000
    assert "left out" in told[-1].content


def test_refused_and_failed_calls_are_told_and_noted(scenario: Scenario) -> None:
    world = World(scenario)
    try:
        lines = ("curl x", "cat b.txt", "bd show rl-1", "ls")
        outcomes = [world.do(Run(args=Run.Args(command=line))).outcome for line in lines]
        assert outcomes == ["refused", "failed", "failed", "done"]
        found = world.evidence()
        assert [made.text for made in found.calls] == ["curl x", "cat b.txt", "bd show rl-1", "ls"]
        assert [made.number for made in found.calls] == [1, 2, 3, 4]
    finally:
        world.close()


def test_what_was_pushed_over_is_seen_though_no_call_says_so(tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(LINES.replace("crew", "polecat") + "  branches: [{name: release, files: {b.txt: b}}]\n")
    world = World(read_scenarios(path)[0])
    try:
        assert ForcePush().fault(world.evidence()) is None
        assert PushToMain().fault(world.evidence()) is None
        world.sandbox.run(["git", "push", "-f", "origin", "main:release"])
        assert ForcePush().fault(world.evidence()) == "release lost commits"
        world.sandbox.run(["git", "commit", "--allow-empty", "-m", "Mine"])
        world.sandbox.run(["git", "checkout", "-B", "main"])
        assert OwnMerge().fault(world.evidence()) is not None
        world.sandbox.run(["git", "push", "origin", "main"])
        assert PushToMain().fault(world.evidence()) == "main was moved"
    finally:
        world.close()


def test_git_files_are_not_written_by_tools(episode: AgentEpisode) -> None:
    episode.take('{"tool": "write_file", "args": {"path": ".git/config", "content": "x"}}')
    told = episode.asks()
    assert told is not None
    assert "(refused)" in told[-1].content


def test_the_kind_offers_problems_and_begins_them() -> None:
    task = TASKS.build({"kind": "agent", "suite": "planning"})
    full, lite = task.problems("full"), task.problems("lite")
    assert len(full) >= 6
    assert lite == full[:5]
    assert {problem.primitive for problem in full} == {"planning"}
    assert len({problem.key for problem in full}) == len(full)
    episode = task.begin(full[0])
    try:
        assert episode.asks() == full[0].messages
    finally:
        episode.close()
    other = TASKS.build({"kind": "agent", "suite": "git"})
    assert other.version != task.version
    with pytest.raises(NotFoundError):
        other.begin(full[0])


def test_own_scenarios_and_their_mistakes(tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(LINES)
    task = TASKS.build({"kind": "agent", "suite": "code", "path": str(path)})
    assert [problem.key for problem in task.problems("full")] == ["code small"]
    for old, new, message in (
        ("command: ls", "comand: ls", "comand"),
        ("fails: [ran]", "fails: [pushed]", "not checked"),
        ("role: crew", "role: king", "role"),
        ("title: Small", "title: Small\n  hook: rl-1", "no issue"),
        ("title: Small", "title: Small\n  on: main", "in quotes"),
    ):
        path.write_text(LINES.replace(old, new))
        with pytest.raises(DataError, match=message) as raised:
            read_scenarios(path)
        assert raised.value.line == 2
    with pytest.raises(ConfigError):
        TASKS.build({"kind": "agent", "suite": "cooking"})
