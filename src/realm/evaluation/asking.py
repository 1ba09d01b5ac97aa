"""Let a model work at many problems at once: what all running episodes ask is generated together."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING

from realm.core.errors import DataError
from realm.core.records import Message
from realm.core.seeds import seed
from realm.evaluation.suite import Suite
from realm.evaluation.task import Episode, Result, Task
from realm.skills.skill import Problem

if TYPE_CHECKING:
    from realm.models.generator import Generator

Chat = tuple[Message, ...]

_TOO_LONG = "prompt"
"""What an engine's DataError names where a chat leaves no room for an answer."""


class Asking:
    """A model at work on problems of one suite."""

    def __init__(self, task: Task, generator: Generator, suite: Suite) -> None:
        self._task = task
        self._generator = generator
        self._sampling = suite.sampling
        self._max_tokens = suite.max_tokens

    def answer(self, problems: Sequence[Problem]) -> list[Result]:
        """Return what came of each problem, in order. Every episode is closed, whatever happens."""
        with ExitStack() as stack:
            episodes = []
            for problem in problems:
                episode = self._task.begin(problem)
                stack.callback(episode.close)
                episodes.append(episode)
            overlong = self._rounds(episodes, problems[0].key if problems else "")
            return [overlong.get(i) or episode.result() for i, episode in enumerate(episodes)]

    def _rounds(self, episodes: Sequence[Episode], first: str) -> dict[int, Result]:
        """Go on until no episode asks any more. Return those that outgrew the model's context."""
        overlong: dict[int, Result] = {}
        running = list(range(len(episodes)))
        turn = 0
        while True:
            chats = {i: chat for i in running if (chat := episodes[i].asks()) is not None}
            if not chats:
                return overlong
            running = list(chats)
            draw = seed("answers", self._sampling.seed, first, turn)
            for i, answer in zip(running, self._generate(list(chats.values()), draw), strict=True):
                if isinstance(answer, DataError):
                    note = f"not asked: {answer.reason}"
                    overlong[i] = Result(score=0.0, answer="", notes=(note,))
                else:
                    episodes[i].take(answer)
            running, turn = [i for i in running if i not in overlong], turn + 1

    def _generate(self, chats: list[Chat], draw: int) -> list[str | DataError]:
        """Return an answer a chat; a chat that does not fit the context gets the engine's word for that."""
        how = self._sampling
        try:
            return list(
                self._generator.generate(
                    chats,
                    max_tokens=self._max_tokens,
                    temperature=how.temperature,
                    top_p=how.top_p,
                    seed=draw,
                )
            )
        except DataError as error:
            if error.file != _TOO_LONG:
                raise
            if len(chats) == 1:
                return [error]
        half = len(chats) // 2
        return [*self._generate(chats[:half], draw), *self._generate(chats[half:], draw)]
