"""Commands out of a shell line, as far as their words can be told for sure.

Not covered: expansions, `$(…)` within quotes, functions and aliases. What cannot be split gives nothing,
so that nobody is blamed for words in a message.
"""

from __future__ import annotations

import re
import shlex
from typing import NamedTuple

_LONGEST = 8_000
_SEPARATORS = frozenset(";|&()\n<>")
_REDIRECTIONS = frozenset("<>")
_HEREDOC = re.compile(r"<<-?\s{0,4}(['\"]?)([A-Za-z_]\w{0,40})\1")
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w{0,80}=")
_PREFIXES = frozenset({"time", "env", "nohup", "command", "exec", "then", "do", "else", "if", "while", "!"})
_GIT_TAKES_VALUE = frozenset(
    {
        "-C",
        "-c",
        "--git-dir",
        "--work-tree",
        "--namespace",
        "--config-env",
        "--super-prefix",
        "--attr-source",
    }
)


class Command(NamedTuple):
    """One simple command."""

    words: tuple[str, ...]
    variables: tuple[str, ...]
    """Assignments in front of it: `NAME=value`."""

    @property
    def program(self) -> str:
        """The program's name without its folder."""
        return self.words[0].rsplit("/", 1)[-1]

    def git(self) -> tuple[str, ...]:
        """Return the subcommand of git and its arguments, empty for another program."""
        if self.program != "git":
            return ()
        rest = list(self.words[1:])
        while rest and rest[0].startswith("-"):
            rest = rest[2:] if rest[0] in _GIT_TAKES_VALUE else rest[1:]
        return tuple(rest)


def commands(text: str) -> list[Command]:
    """Split a shell line into its simple commands; empty where its quotes do not close."""
    if len(text) > _LONGEST:
        return []
    splitter = shlex.shlex(_without_heredocs(text), posix=True, punctuation_chars=";|&()\n<>")
    splitter.whitespace = " \t\r"
    splitter.whitespace_split = True
    splitter.commenters = ""
    try:
        words = list(splitter)
    except ValueError:
        return []
    found: list[Command] = []
    current: list[str] = []
    skip, comment = False, False
    for word in [*words, ";"]:
        if not _SEPARATORS.issuperset(word):
            comment = comment or word.startswith("#")
            if not skip and not comment:
                current.append(word)
            skip = False
            continue
        comment = comment and "\n" not in word
        skip = bool(_REDIRECTIONS & set(word)) and "\n" not in word
        if skip:
            current = current[:-1] if current and current[-1].isdigit() else current
            continue
        command = _command(current)
        if command:
            found.append(command)
        current = []
    return found


def _command(words: list[str]) -> Command | None:
    variables: list[str] = []
    rest = list(words)
    while rest:
        if _ASSIGNMENT.match(rest[0]):
            variables.append(rest.pop(0))
        elif rest[0] in _PREFIXES:
            rest.pop(0)
        elif rest[0] == "timeout" and len(rest) > 2:
            del rest[:2]
        else:
            break
    return Command(tuple(rest), tuple(variables)) if rest and rest[0] else None


def _without_heredocs(text: str) -> str:
    if "<<" not in text:
        return text
    kept: list[str] = []
    ends: list[str] = []
    for line in text.split("\n"):
        if ends:
            if line.strip().rstrip(")\"'") == ends[0]:
                kept.append(line.strip()[len(ends.pop(0)) :])
            continue
        kept.append(_HEREDOC.sub("", line))
        ends.extend(match[2] for match in _HEREDOC.finditer(line))
    return "\n".join(kept)
