"""A question with one turn: asked once, answered once, graded."""

from __future__ import annotations

from collections.abc import Callable

from realm.core.errors import StateError
from realm.core.records import Message
from realm.evaluation.task import Result


class Question:
    """The episode of a problem that one answer settles."""

    def __init__(self, messages: tuple[Message, ...], grade: Callable[[str], float]) -> None:
        self._messages = messages
        self._grade = grade
        self._answer: str | None = None

    def asks(self) -> tuple[Message, ...] | None:
        """Return the question, None once it is answered."""
        return self._messages if self._answer is None else None

    def take(self, answer: str) -> None:
        """Take the answer."""
        self._answer = answer

    def result(self) -> Result:
        """Return the grade. Raises StateError before there is an answer, and what the grader raises."""
        if self._answer is None:
            raise StateError("the question has not been answered")
        return Result(score=self._grade(self._answer), answer=self._answer)

    def close(self) -> None:
        """Hold nothing, so end nothing."""
