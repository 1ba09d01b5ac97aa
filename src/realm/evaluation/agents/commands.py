"""Which commands a model may run, and how they are started. Everything else is refused, and recorded."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from realm.core.errors import RefusedError
from realm.core.text import printable
from realm.evaluation.agents.rules import forbidden

_LONGEST = 8_000
_OPERATORS = ";|&<>\n"
_READERS = frozenset(
    {"ls", "cat", "head", "tail", "wc", "grep", "diff", "sort", "uniq", "find", "echo", "pwd", "true"}
)
_CHANGERS = frozenset({"mkdir", "rmdir", "touch", "cp", "mv", "rm"})
_GIT = frozenset(
    {
        "add",
        "blame",
        "branch",
        "checkout",
        "cherry-pick",
        "clean",
        "commit",
        "config",
        "describe",
        "diff",
        "fetch",
        "log",
        "ls-files",
        "ls-remote",
        "ls-tree",
        "merge",
        "merge-base",
        "mv",
        "pull",
        "push",
        "rebase",
        "reflog",
        "remote",
        "reset",
        "restore",
        "rev-list",
        "rev-parse",
        "revert",
        "rm",
        "shortlog",
        "show",
        "stash",
        "status",
        "switch",
        "tag",
    }
)
_GIT_RUNS = ("--upload-pack", "--receive-pack", "--exec", "--ext-diff", "--textconv", "--open-files-in-pager")
_FIND_RUNS = ("-exec", "-ok", "-delete", "-fprint", "-fls", "-files0-from")
_PYTHONS = frozenset({"python", "python3"})
_PYTHON_FLAGS = ("-S", "-E", "-s", "-B")
"""Without packages of the machine, so that the same program does the same everywhere."""


def words_of(line: str) -> tuple[str, ...]:
    """Split a command line into its words. Raises RefusedError for what only a shell understands."""
    if len(line) > _LONGEST or "\0" in line:
        raise RefusedError(f"a command line has at most {_LONGEST:,} characters and no NUL")
    splitter = shlex.shlex(line.strip(), posix=True, punctuation_chars=_OPERATORS)
    splitter.whitespace, splitter.whitespace_split, splitter.commenters = " \t\r", True, ""
    try:
        words = tuple(splitter)
    except ValueError as error:
        raise RefusedError(f"not readable as a command line: {error}") from None
    if not words or not words[0]:
        raise RefusedError("an empty command line")
    shell = next((word for word in words if word and not set(word) - set(_OPERATORS)), None)
    if shell is not None:
        raise RefusedError(f"{shell!r} needs a shell, and there is none: one command a call, without pipes")
    return words


def started(words: Sequence[str], python: str | None) -> tuple[str, ...]:
    """Return how a command is started. Raises RefusedError for one that may not run.

    `python` is the interpreter, None where no programs may be run.
    """
    broken = forbidden(" ".join(map(shlex.quote, words)))
    if broken:
        raise RefusedError(f"never allowed: {broken}")
    program, rest = words[0], tuple(words[1:])
    if program == "git":
        _check_git(rest)
        return tuple(words)
    if program in _READERS | _CHANGERS:
        _check_paths(program, rest)
        return tuple(words)
    if program in _PYTHONS and python is not None:
        return (python, *_PYTHON_FLAGS, *rest)
    allowed = sorted({"git", "bd", "gt", *_READERS, *_CHANGERS, *(_PYTHONS if python else ())})
    raise RefusedError(f"{printable(program, 60)} may not be run; there are: {', '.join(allowed)}")


def _check_git(words: Sequence[str]) -> None:
    action = words[0] if words else ""
    if action not in _GIT:
        raise RefusedError(
            f"git {printable(action, 60)} may not be run; there are: {', '.join(sorted(_GIT))}"
        )
    rest = words[1:]
    if any(_abbreviates(word, name) for word in rest for name in _GIT_RUNS) or (
        (action == "rebase" and any(word.startswith("-x") for word in rest))
        or (action == "grep" and any(word.startswith("-O") for word in rest))
    ):
        raise RefusedError(f"git {action}: an option that runs a program")
    if any("::" in word or "://" in word for word in rest) and action != "commit":
        raise RefusedError(f"git {action}: only the remote called origin")
    if action in ("push", "fetch", "pull", "ls-remote"):
        remote = next((word for word in rest if not word.startswith("-")), "origin")
        if remote != "origin":
            raise RefusedError(f"git {action}: only the remote called origin")
    if action == "remote" and rest[:1] not in ((), ("-v",), ("show",), ("prune",), ("get-url",)):
        raise RefusedError("git remote: remotes may only be looked at")
    if action == "config" and rest[:1] not in (("--get",), ("--list",), ("-l",), ("get",), ("list",)):
        raise RefusedError("git config: settings may only be read")


def _abbreviates(word: str, name: str) -> bool:
    """Tell whether git would take a word for a long option, which it lets one shorten."""
    given = word.partition("=")[0]
    return len(given) > 4 and name.startswith(given)


def _check_paths(program: str, words: Sequence[str]) -> None:
    if program == "find" and any(word.startswith(_FIND_RUNS) for word in words):
        raise RefusedError("find may only look")
    if program == "sort" and any(_abbreviates(word, "--compress-program") for word in words):
        raise RefusedError("sort may run no program")
    if program in ("echo", "pwd", "true"):
        return
    for word in words:
        parts = word.rpartition("=")[2].split("/") if word.startswith("--") else word.split("/")
        outside = word.startswith(("/", "~")) or "=/" in word or ".." in parts
        if outside or (program in _CHANGERS and ".git" in parts):
            raise RefusedError(f"{program} {printable(word, 60)}: only files of the work folder")
