from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import log
from typing import Any

import pytest

from realm.core.config import Config
from realm.core.errors import DataError, StateError
from realm.core.records import Message
from realm.evaluation.asking import Asking
from realm.evaluation.suite import Sampling, Suite
from realm.evaluation.task import Result, Size
from realm.models.generator import Confidence, Said
from realm.skills.skill import Problem


def problem(turns: int, name: str = "") -> Problem:
    chat = (Message(role="user", content=f"count to {turns}"),)
    return Problem(key=f"{turns}{name}", primitive="count", level=0, messages=chat, expected="")


class Counting:
    """Asks as often as its problem says; right when every turn was answered with its number."""

    version = "1"
    turn_tokens = 64
    config = Config()

    def __init__(self, breaks: str = "") -> None:
        self.breaks = breaks
        self.open: list[str] = []

    def problems(self, size: Size) -> tuple[Problem, ...]:
        return ()

    def begin(self, problem: Problem) -> Count:
        if problem.key == self.breaks:
            raise StateError("this one cannot begin")
        self.open.append(problem.key)
        return Count(self, problem)


class Count:
    def __init__(self, task: Counting, problem: Problem) -> None:
        self._task = task
        self._problem = problem
        self._said: list[str] = []

    def asks(self) -> tuple[Message, ...] | None:
        if len(self._said) == int(self._problem.messages[0].content.split()[-1]):
            return None
        turn = Message(role="user", content=str(len(self._said)))
        return *self._problem.messages, turn

    def take(self, answer: str) -> None:
        self._said.append(answer)

    def result(self) -> Result:
        right = self._said == [str(n) for n in range(len(self._said))]
        return Result(score=float(right), answer=" ".join(self._said))

    def close(self) -> None:
        self._task.open.remove(self._problem.key)


class Echo:
    """Repeats the last turn; a chat whose first turn asks for more than `room` does not fit."""

    def __init__(self, room: int = 99) -> None:
        self.room = room
        self.calls: list[int] = []
        self.seeds: list[int] = []
        self.description = {"backend": "echo"}

    def generate(
        self,
        prompts: Sequence[Sequence[Message]],
        *,
        max_tokens: int,
        temperature: float = 0.0,
        top_p: float = 1.0,
        seed: int = 0,
    ) -> list[str]:
        if any(int(chat[0].content.split()[-1]) > self.room for chat in prompts):
            raise DataError("too many tokens", file="prompt")
        self.calls.append(len(prompts))
        self.seeds.append(seed)
        return [chat[-1].content for chat in prompts]

    def stream(
        self,
        messages: Sequence[Message],
        *,
        max_tokens: int,
        temperature: float = 0.0,
        top_p: float = 1.0,
        seed: int = 0,
    ) -> Iterator[str]:
        yield messages[-1].content

    def loss(self, chats: Sequence[Sequence[Message]]) -> tuple[float, int]:
        return 0.0, 0


def asking(task: Counting, generator: Echo, **sampling: float) -> Asking:
    suite = Suite(
        id="count",
        skill="count",
        version="1",
        task={},
        level=0,
        problems=(),
        sampling=Sampling(max_tokens=8, **sampling),  # type: ignore[arg-type]
    )
    return Asking(task, generator, suite)


def test_all_running_episodes_are_generated_together() -> None:
    task, generator = Counting(), Echo()
    turns = [3, 1, 0, 2, 3]
    results = asking(task, generator).answer([problem(n, f"-{i}") for i, n in enumerate(turns)])
    assert [result.answer for result in results] == ["0 1 2", "0", "", "0 1", "0 1 2"]
    assert generator.calls == [4, 3, 2]
    assert task.open == []
    assert len(set(generator.seeds)) == 3  # another draw each turn


def test_what_does_not_fit_is_wrong_with_a_note_and_stops_nobody_else() -> None:
    task, generator = Counting(), Echo(room=3)
    results = asking(task, generator).answer([problem(1), problem(7), problem(2), problem(9), problem(3)])
    assert [result.score for result in results] == [1.0, 0.0, 1.0, 0.0, 1.0]
    assert results[1].notes == ("not asked: too many tokens",)
    assert task.open == []


class Ending(Count):
    """Can be judged at any time."""

    def end(self) -> None:
        self._said.append("2")


class Filling(Echo):
    """A context with room for two turns."""

    def generate(self, prompts: Sequence[Sequence[Message]], **options: Any) -> list[str]:
        if any(int(chat[-1].content) >= 2 for chat in prompts):
            raise DataError("too many tokens", file="prompt")
        return super().generate(prompts, **options)


def test_what_outgrows_the_context_later_is_worth_what_was_done() -> None:
    class Task(Counting):
        def begin(self, problem: Problem) -> Count:
            self.open.append(problem.key)
            return Ending(self, problem)

    generator, problems = Filling(), [problem(1), problem(5), problem(2)]
    results = asking(Task(), generator).answer(problems)
    assert [result.score for result in results] == [1.0, 1.0, 1.0]
    assert results[1].answer == "0 1 2"
    assert [result.notes for result in results] == [(), ("ended early: too many tokens",), ()]
    task = Counting()
    found = asking(task, generator).answer(problems)[1]
    assert (found.score, found.notes) == (0.0, ("not asked: too many tokens",))
    assert task.open == []


def test_other_faults_of_an_engine_are_raised_and_everything_is_closed() -> None:
    class Broken(Echo):
        def generate(self, prompts: object, **options: object) -> list[str]:
            raise DataError("bad template", file="template")

    task = Counting()
    with pytest.raises(DataError, match="bad template"):
        asking(task, Broken()).answer([problem(1), problem(2)])
    assert task.open == []
    task = Counting(breaks="2")
    with pytest.raises(StateError, match="cannot begin"):
        asking(task, Echo()).answer([problem(1), problem(2)])
    assert task.open == []


def test_a_lost_answer_is_an_error() -> None:
    class Short(Echo):
        def generate(self, prompts: Sequence[Sequence[Message]], **options: object) -> list[str]:
            return [chat[-1].content for chat in prompts][1:]

    with pytest.raises(ValueError, match="zip"):
        asking(Counting(), Short()).answer([problem(1), problem(2)])


class Sure(Echo):
    """An echo that is half sure of every turn."""

    def say(
        self,
        prompts: Sequence[Sequence[Message]],
        *,
        max_tokens: int,
        temperature: float = 0.0,
        top_p: float = 1.0,
        seed: int = 0,
    ) -> list[Said]:
        sure = Confidence(log_probability=log(0.5), tokens=1)
        texts = self.generate(prompts, max_tokens=max_tokens, seed=seed)
        return [Said(text=text, confidence=sure) for text in texts]

    def confidences(self, chats: Sequence[Sequence[Message]]) -> list[Confidence]:
        raise NotImplementedError("the answers are not read again")


def test_one_turn_has_a_confidence_several_and_none_have_not() -> None:
    problems = [problem(1), problem(2), problem(9), problem(0)]
    found = asking(Counting(), Sure(room=3)).answer(problems)
    assert [result.confidence for result in found] == [pytest.approx(0.5), None, None, None]
    assert [result.confidence for result in asking(Counting(), Echo()).answer(problems)] == [None] * 4
