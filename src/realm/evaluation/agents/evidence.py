"""What an episode left behind, for the checks: every call in order, and the state at its end."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from pydantic import Field

from realm.core.records import Record
from realm.corpus.agents.shell import Command
from realm.corpus.agents.workitem import WorkItem
from realm.evaluation.agents.gt import Deed
from realm.evaluation.agents.rules import simple_commands
from realm.evaluation.agents.sandbox import Ran

Outcome = Literal["done", "failed", "refused", "stopped"]
Role = Literal["polecat", "witness", "deacon", "boot", "refinery", "crew", "mayor"]


class Call(Record):
    """One call of a tool."""

    number: int
    """1 for the first: the order in time."""
    tool: Literal["run", "read_file", "write_file", "finish"]
    text: str
    """The command line, the path, or the answer."""
    outcome: Outcome
    """`failed` has another exit code than 0, `refused` never ran, `stopped` met a limit."""
    output: str = ""

    def commands(self) -> Iterator[Command]:
        """Yield the commands that a call ran or tried to run."""
        if self.tool == "run":
            yield from simple_commands(self.text)


class Evidence(Record):
    """All that checks look at."""

    role: Role
    me: str
    calls: tuple[Call, ...]
    deeds: tuple[Deed, ...]
    issues: tuple[WorkItem, ...]
    before: tuple[WorkItem, ...]
    """The issues that there were at the beginning."""
    answer: str
    """What `finish` said; empty where it was not called."""
    heads: dict[str, str] = Field(default_factory=dict)
    """The remote's branches at the beginning, with their commits."""
    probes: tuple[tuple[tuple[str, ...], Ran], ...] = ()
    """Commands that the checks asked to be run at the end, and how they ended."""

    def told(self, probe: tuple[str, ...]) -> Ran:
        """Return how a probe ended."""
        return next(ran for argv, ran in self.probes if argv == probe)

    def lines(self, probe: tuple[str, ...]) -> tuple[str, ...]:
        """Return what a probe said, line by line; nothing where it failed."""
        ran = self.told(probe)
        return tuple(ran.output.splitlines()) if ran.exit == 0 and ran.ended == "exit" else ()

    def commands(self) -> Iterator[tuple[Call, Command]]:
        """Yield every command that was tried, in order, with its call."""
        for call in self.calls:
            for command in call.commands():
                yield call, command

    def ran(self, *words: str) -> tuple[Call, ...]:
        """Return the calls whose commands begin with these words and succeeded."""
        return tuple(
            call
            for call, command in self.commands()
            if call.outcome == "done" and _plain(command)[: len(words)] == words
        )

    def find(self, which: str) -> WorkItem | None:
        """Return the issue of an id, or the only one whose title contains the words."""
        exact = next((item for item in self.issues if item.id == which), None)
        if exact is not None:
            return exact
        found = [item for item in self.issues if which.casefold() in item.title.casefold()]
        return found[0] if len(found) == 1 else None

    def created(self) -> tuple[WorkItem, ...]:
        """Return the issues that were filed."""
        before = {item.id for item in self.before}
        return tuple(item for item in self.issues if item.id not in before)


def _plain(command: Command) -> tuple[str, ...]:
    return (command.program, *command.words[1:])
