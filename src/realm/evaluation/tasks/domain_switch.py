"""The same questions under each domain's system prompt: whether an answer depends on who is asked."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from realm.core.config import Config as BaseConfig
from realm.core.errors import DataError
from realm.core.records import Message, Name
from realm.evaluation.question import Question
from realm.evaluation.rows import Grader, grade, grader_version, read_rows, sampled
from realm.evaluation.suite import ANSWER_TOKENS
from realm.evaluation.task import PER_PRIMITIVE, Size
from realm.skills.skill import Problem


class DomainSwitch:
    """Ask the questions of a file once for each domain; the primitive is the domain."""

    class Config(BaseConfig):
        kind: Literal["domain_switch"] = "domain_switch"
        path: Path
        """The file, relative to the suite's own; its rows have no system turn of their own."""
        domains: Annotated[dict[Name, Annotated[str, Field(min_length=1)]], Field(min_length=2)]
        """System prompt of each domain."""
        grader: Grader = "exact"
        """How an answer is compared with the expected one."""

    turn_tokens = ANSWER_TOKENS

    def __init__(self, config: Config) -> None:
        self.config = config
        self.version = grader_version(config.grader)

    def problems(self, size: Size) -> tuple[Problem, ...]:
        """Return every chosen question under every domain. Raises DataError for a bad row."""
        rows = sampled(read_rows(self.config.path, self.config.grader), PER_PRIMITIVE[size])
        found = []
        for domain, prompt in sorted(self.config.domains.items()):
            first = Message(role="system", content=prompt)
            for row in rows:
                if row.chat()[0].role == "system":
                    reason = f"{row.key!r} has a system turn, which the domain's would contradict"
                    raise DataError(reason, file=str(self.config.path))
                changes = {
                    "key": f"{domain}/{row.key}",
                    "primitive": domain,
                    "messages": (first, *row.chat()),
                }
                found.append(row.problem().model_copy(update=changes))
        return tuple(found)

    def begin(self, problem: Problem) -> Question:
        """Begin one question; the file is not read again."""
        return Question(problem.messages, lambda answer: grade(self.config.grader, problem.expected, answer))
