"""Let a model work at many problems at once: what all running episodes ask is generated together."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, NamedTuple, Protocol, runtime_checkable

from realm.core.errors import DataError
from realm.core.records import Message
from realm.core.seeds import seed
from realm.evaluation.suite import Suite
from realm.evaluation.task import Episode, Result, Task
from realm.models.generator import Confident
from realm.skills.skill import Problem

if TYPE_CHECKING:
    from realm.models.generator import Generator, Said

Chat = tuple[Message, ...]

_TOO_LONG = "prompt"
"""What an engine's DataError names where a chat leaves no room for an answer."""


class _Turn(NamedTuple):
    """What the model said, and how sure it was where it knows."""

    text: str
    confidence: float | None

    @classmethod
    def of(cls, said: Said) -> _Turn:
        return cls(said.text, said.confidence.product if said.confidence.tokens else None)


@runtime_checkable
class Endable(Protocol):
    """An episode that can be judged by what was done up to now."""

    def end(self) -> None:
        """End it, so that it has a result."""


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
            overlong, sure = self._rounds(episodes, problems[0].key if problems else "")
            return [
                overlong.get(i) or episode.result().model_copy(update={"confidence": sure.get(i)})
                for i, episode in enumerate(episodes)
            ]

    def _rounds(
        self, episodes: Sequence[Episode], first: str
    ) -> tuple[dict[int, Result], dict[int, float | None]]:
        """Go on until no episode asks any more.

        Returns those that outgrew the model's context, and how sure the model was of single answers.
        """
        overlong: dict[int, Result] = {}
        sure: dict[int, float | None] = {}
        running = list(range(len(episodes)))
        turn = 0
        while True:
            chats = {i: chat for i in running if (chat := episodes[i].asks()) is not None}
            if not chats:
                return overlong, sure
            running = list(chats)
            draw = seed("answers", self._sampling.seed, first, turn)
            for i, answer in zip(running, self._generate(list(chats.values()), draw), strict=True):
                if isinstance(answer, DataError):
                    overlong[i] = _cut_short(episodes[i], turn, answer.reason)
                else:
                    episodes[i].take(answer.text)
                    sure[i] = answer.confidence if turn == 0 else None
            running, turn = [i for i in running if i not in overlong], turn + 1

    def _generate(self, chats: list[Chat], draw: int) -> list[_Turn | DataError]:
        """Return an answer a chat; a chat that does not fit the context gets the engine's word for that."""
        try:
            return list(self._turns(chats, draw))
        except DataError as error:
            if error.file != _TOO_LONG:
                raise
            if len(chats) == 1:
                return [error]
        half = len(chats) // 2
        return [*self._generate(chats[:half], draw), *self._generate(chats[half:], draw)]

    def _turns(self, chats: list[Chat], draw: int) -> list[_Turn]:
        how, model = self._sampling, self._generator
        room, temperature, top_p = self._max_tokens, how.temperature, how.top_p
        if isinstance(model, Confident):
            said = model.say(chats, max_tokens=room, temperature=temperature, top_p=top_p, seed=draw)
            return [_Turn.of(each) for each in said]
        texts = model.generate(chats, max_tokens=room, temperature=temperature, top_p=top_p, seed=draw)
        return [_Turn(text, None) for text in texts]


def _cut_short(episode: Episode, turn: int, reason: str) -> Result:
    """Return what an episode is worth whose next turn finds no room: what was done counts."""
    if turn == 0 or not isinstance(episode, Endable):
        return Result(score=0.0, answer="", notes=(f"not asked: {reason}",))
    episode.end()
    found = episode.result()
    return found.model_copy(update={"notes": (*found.notes, f"ended early: {reason}")})
