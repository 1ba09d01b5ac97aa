"""What a part of a suite is: problems, and an episode for each, in which a model is asked.

An episode asks one thing after another until it is over: a question has one turn, work in a sandbox has
many. Whoever lets a model answer collects what all running episodes ask and generates in batches.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Protocol, cast, runtime_checkable

from pydantic import Field

from realm.core.config import Config
from realm.core.kinds import Family
from realm.core.records import Message, Record
from realm.skills.skill import Problem

Size = Literal["lite", "full"]

PER_PRIMITIVE: dict[Size, int] = {"lite": 5, "full": 30}
"""Problems asked of each primitive."""


class Result(Record):
    """What came of one episode."""

    score: Annotated[float, Field(ge=0, le=1)]
    answer: str
    """The raw answer, or the transcript where there were several turns."""
    notes: tuple[str, ...] = ()
    """What was checked and failed, in words."""
    confidence: Annotated[float, Field(ge=0, le=1)] | None = None
    """Probability of the whole answer, told by whoever let the model answer, not by the episode; None where
    nobody knows it, and of several turns."""


class Episode(Protocol):
    """One problem being worked at. Over when `asks` returns None; closed by whoever began it."""

    def asks(self) -> tuple[Message, ...] | None:
        """Return the chat that the model continues next, None when the episode is over."""

    def take(self, answer: str) -> None:
        """Take the model's turn."""

    def result(self) -> Result:
        """Return what came of it. Raises StateError while it goes on."""

    def close(self) -> None:
        """End whatever the episode holds: processes, folders. Harmless when repeated."""


class Task(Protocol):
    """A part of a suite: one kind of problem with its grader."""

    version: str
    """Changes whenever the same answer could be graded otherwise, or other problems are asked."""
    turn_tokens: int
    """Room that a turn of the model needs, beside what the longest `expected` takes; a longer turn is cut."""

    @property
    def config(self) -> Config: ...

    def problems(self, size: Size) -> tuple[Problem, ...]:
        """Return what is asked, always the same; the primitive of each says what it tests.

        Keys differ within a level. A problem with an `expected` also counts for the loss.
        """

    def begin(self, problem: Problem) -> Episode:
        """Begin one problem. Up to 256 are open at once; what this raises ends the evaluation."""


@runtime_checkable
class Elsewhere(Protocol):
    """A task whose model is asked by a program of others, at an endpoint.

    The suite's sampling does not reach it, and what it scores are figures rather than right and wrong.
    """

    def asked_elsewhere(self) -> dict[str, str]:
        """Say what answers and how, for records of what was measured. Raises what asking for it raises."""


class HowAsked:
    """Marks a setting that says where or how a task is asked, not what: it is kept out of a part's id."""


HOW_ASKED = HowAsked()

TASKS: Family[Task] = Family("task", "realm.evaluation.tasks")


def is_elsewhere(config: Config) -> bool:
    """Say whether the task of a config is asked elsewhere."""
    return issubclass(TASKS.load(str(cast("Any", config).kind)), Elsewhere)
