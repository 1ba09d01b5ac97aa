"""Questions with known answers from a JSONL file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from realm.core.config import Config as BaseConfig
from realm.core.records import Message
from realm.evaluation.question import Question
from realm.evaluation.rows import Grader, grade, grader_version, read_rows, sampled
from realm.evaluation.suite import ANSWER_TOKENS
from realm.evaluation.task import PER_PRIMITIVE, Size
from realm.skills.skill import Problem


class FileTask:
    """Ask the questions of a file; up to 5 (lite) or 30 (full) of each primitive."""

    class Config(BaseConfig):
        kind: Literal["file"] = "file"
        path: Path
        """The file, relative to the suite's own."""
        grader: Grader = "exact"
        """How an answer is compared with the expected one."""
        system: Annotated[str, Field(min_length=1)] | None = None
        """System turn put before every question."""
        everything: bool = False
        """Ask every row, whatever the size of the suite."""

    turn_tokens = ANSWER_TOKENS

    def __init__(self, config: Config) -> None:
        self.config = config
        self.version = grader_version(config.grader)

    def problems(self, size: Size) -> tuple[Problem, ...]:
        """Return the rows as problems. Raises DataError with the line of a bad row."""
        rows = read_rows(self.config.path, self.config.grader)
        chosen = rows if self.config.everything else sampled(rows, PER_PRIMITIVE[size])
        problems = (row.problem() for row in chosen)
        if self.config.system is None:
            return tuple(problems)
        first = Message(role="system", content=self.config.system)
        return tuple(p.model_copy(update={"messages": (first, *p.messages)}) for p in problems)

    def begin(self, problem: Problem) -> Question:
        """Begin one question; the file is not read again."""
        return Question(problem.messages, lambda answer: grade(self.config.grader, problem.expected, answer))
