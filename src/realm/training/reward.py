"""The contract of the `reward` family: how good an answer is.

A reward is a pure function of the question and the answer; a run that goes on after an interruption
relies on it.
"""

from __future__ import annotations

from typing import Annotated, Any, NamedTuple, Protocol

from pydantic import Field, SerializeAsAny

from realm.core.config import Config
from realm.core.errors import DataError
from realm.core.kinds import Family
from realm.core.records import Example, Message


class Question(NamedTuple):
    """What a row asks."""

    prompt: tuple[Message, ...]
    """Up to where the assistant begins to speak."""
    expected: str | None
    """The right answer, where the row has one."""
    example: Example


LARGEST = 1e6
"""Of a reward and of its weight, either way: products and their squares stay far within fp32."""


class Reward(Protocol):
    """A way to grade answers."""

    config: Any

    def check(self, question: Question) -> None:
        """Raise DataError where the row lacks what grading needs."""
        ...

    def score(self, question: Question, answer: str) -> float:
        """Return how good the answer is: within ±`LARGEST`, the larger the better."""
        ...


REWARDS: Family[Reward] = Family("reward", "realm.training.rewards")
"""Kinds of the `reward` family."""


class WeightedReward(Config):
    """One reward and how much it counts beside others."""

    reward: Annotated[SerializeAsAny[Config], REWARDS.part()]
    """What grades an answer."""
    weight: Annotated[float, Field(ge=-LARGEST, le=LARGEST)] = 1.0
    """What its grades are multiplied by before they are added up; below 0 they count against the answer."""


def question_of(example: Example) -> Question:
    """Return what a row asks: its chat up to the last assistant turn, which is the right answer.

    Raises DataError where there is nothing to answer.
    """
    if not example.messages:
        raise DataError("a text asks nothing; a prompt is a chat", file="row")
    prompt, expected = example.messages, example.expected
    if prompt[-1].role == "assistant":
        expected = prompt[-1].content if expected is None else expected
        prompt = prompt[:-1]
    if not prompt or prompt[-1].role not in ("user", "tool"):
        raise DataError("a prompt ends with a user's or a tool's turn", file="row")
    return Question(prompt, expected, example)
