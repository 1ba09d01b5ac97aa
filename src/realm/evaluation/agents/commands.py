"""Which commands a model may run, and how they are started. Everything else is refused, and recorded."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from realm.core.errors import RefusedError
from realm.core.text import printable
from realm.evaluation.agents.gitwords import check_git, inside_git
from realm.evaluation.agents.rules import forbidden
from realm.evaluation.agents.shortened import has_short, is_long, short_value

_LONGEST = 8_000
_OPERATORS = ";|&<>\n"
_READERS = frozenset(
    {"ls", "cat", "head", "tail", "wc", "grep", "diff", "sort", "uniq", "find", "echo", "pwd", "true"}
)
_CHANGERS = frozenset({"mkdir", "rmdir", "touch", "cp", "mv", "rm"})
_FIND_RUNS = ("-exec", "-ok", "-delete", "-fprint", "-fls", "-files0-from")
_WRITERS = _CHANGERS | {"sort", "uniq"}
_FILE_LETTERS = {"cp": "t", "mv": "t", "sort": "oT", "grep": "f", "diff": "X", "touch": "r"}
"""Short options behind which a path may stand in the same word."""
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
        check_git(rest)
        return tuple(words)
    if program in _READERS | _CHANGERS:
        _check_paths(program, rest)
        return tuple(words)
    if program in _PYTHONS and python is not None:
        return (python, *_PYTHON_FLAGS, *rest)
    allowed = sorted({"git", "bd", "gt", *_READERS, *_CHANGERS, *(_PYTHONS if python else ())})
    raise RefusedError(f"{printable(program, 60)} may not be run; there are: {', '.join(allowed)}")


def _check_paths(program: str, words: Sequence[str]) -> None:
    if program == "find" and any(word.startswith(_FIND_RUNS) for word in words):
        raise RefusedError("find may only look")
    if program == "sort" and any(is_long(word, "--compress-program") for word in words):
        raise RefusedError("sort may run no program")
    if program in ("echo", "pwd", "true"):
        return
    if program in ("cp", "mv") and any(is_long(w, "--suffix") or has_short(w, "S", "t") for w in words):
        raise RefusedError(f"{program} keeps what it replaces under no other name")
    letters = _FILE_LETTERS.get(program, "")
    for word in words:
        path = word.rpartition("=")[2] if word.startswith("--") else short_value(word, letters) or word
        outside = path.startswith(("/", "~")) or "=/" in word or ".." in path.split("/")
        if outside or (program in _WRITERS and inside_git(path)):
            raise RefusedError(f"{program} {printable(word, 60)}: only files of the work folder")
