"""Checks of the commands that were called. A command that was refused was tried, and counts."""

from __future__ import annotations

import shlex
from typing import Annotated, Literal

from pydantic import Field

from realm.core.text import printable
from realm.evaluation.agents.check import Check, Prohibition
from realm.evaluation.agents.evidence import Call, Evidence
from realm.evaluation.agents.rules import forbidden

Words = Annotated[str, Field(min_length=1)]
"""The beginning of a command line, such as `bd close rl-1`."""
_LOOKS = frozenset({"ls", "cat", "head", "tail", "wc", "grep", "diff", "find", "echo", "pwd", "true", "sort"})


class SafeCommands(Prohibition):
    """Nothing was tried that no agent may do: see `rules`. Always checked, and hard."""

    check: Literal["safe_commands"] = "safe_commands"
    hard: bool = True

    def fault(self, evidence: Evidence) -> str | None:
        """Return the first command against the rules."""
        for call in evidence.calls:
            rule = forbidden(call.text) if call.tool == "run" else None
            if rule:
                return f"call {call.number} ({printable(call.text, 80)}): {rule}"
        return None


class BdEdit(Prohibition):
    """`bd edit` was never tried: it opens an editor. Always checked."""

    check: Literal["no_bd_edit"] = "no_bd_edit"

    def fault(self, evidence: Evidence) -> str | None:
        """Return the call that tried it."""
        for call, command in evidence.commands():
            if command.program == "bd" and command.words[1:2] == ("edit",):
                return f"call {call.number} tried bd edit"
        return None


class Ran(Check):
    """A command that begins with these words succeeded."""

    check: Literal["ran"] = "ran"
    command: Words

    def fault(self, evidence: Evidence) -> str | None:
        """Return that it was not run."""
        return None if evidence.ran(*shlex.split(self.command)) else f"{self.command} was not run"


class NeverRan(Prohibition):
    """No command that begins with these words was tried."""

    check: Literal["never_ran"] = "never_ran"
    command: Words

    def fault(self, evidence: Evidence) -> str | None:
        """Return the call that tried it."""
        words = tuple(shlex.split(self.command))
        for call, command in evidence.commands():
            if (command.program, *command.words[1:])[: len(words)] == words:
                return f"call {call.number} ran {self.command}"
        return None


class Order(Check):
    """Commands that begin so succeeded, and for the first time in this order."""

    check: Literal["order"] = "order"
    commands: Annotated[tuple[Words, ...], Field(min_length=2)]

    def fault(self, evidence: Evidence) -> str | None:
        """Return the first command that is missing or came too early."""
        last = 0
        for line in self.commands:
            calls = [call.number for call in evidence.ran(*shlex.split(line))]
            if not calls:
                return f"{line} was not run"
            if calls[0] < last:
                return f"{line} came too early"
            last = calls[0]
        return None


class EndsWithDone(Check):
    """The work ends with `gt done`; where nothing was changed, `bd close` says so right before it."""

    check: Literal["ends_with_done"] = "ends_with_done"
    no_changes: bool = False
    """The item is closed with a reason that begins with `no-changes:` first."""

    def fault(self, evidence: Evidence) -> str | None:
        """Return how it ended instead."""
        done = evidence.ran("gt", "done")
        if not done:
            return "gt done was not run"
        later = [call for call in evidence.calls if call.number > done[-1].number and _acts(call)]
        if later:
            return f"call {later[0].number} came after gt done"
        if not self.no_changes:
            return None
        reasons = [item.close_reason for item in evidence.issues if item.closed]
        closed = [call for call in evidence.ran("bd", "close") if call.number < done[-1].number]
        if closed and any(reason.startswith("no-changes:") for reason in reasons):
            return None
        return "no bd close with a reason that begins with no-changes: before gt done"


def _acts(call: Call) -> bool:
    """Tell whether a call could change anything."""
    if call.tool == "run":
        return any(command.program not in _LOOKS for command in call.commands())
    return call.tool == "write_file"
