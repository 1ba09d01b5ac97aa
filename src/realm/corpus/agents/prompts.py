"""Commands and their output in the lines of a terminal, told apart by the prompts people use.

Recognised: `user@host:folder$ ls`, `[user@host folder]$ ls`, `host% ls`, `bash-5.2$ ls`, a lone `$ ls`,
`❯ ls`, `➜  folder git:(main) ls`, each with `(environment) ` in front. A lone `#`, `%` or `>` is no
prompt: headings, percentages and quotations begin like it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

_PROMPT = re.compile(
    r"(?:\([\w.~/ -]{1,60}\) ?){0,2}"
    r"(?:"
    r"\[?[\w.-]{1,64}@[\w.-]{1,64}(?:[: ][^$#%>\n]{0,200})?\]? ?[$#%]"
    r"|(?:ba|z|k|da)?sh-[\d.]{1,8}[$#%]"
    r"|[~/][\w.~/-]{0,200} ?[$%❯]"
    r"|➜ {1,3}[^\s]{1,100}(?: git:\([^\s()]{1,100}\))?(?: ✗)?"
    r"|[A-Za-z][\w.-]{0,63}%"
    r"|[$❯]"
    r")[ \u00a0](?P<command>\S.{0,4000})"
)
_CONTINUATION = re.compile(r"> ?(?P<command>.*)")
_LONGEST_OUTPUT = 20_000


class Exchange(NamedTuple):
    """A command and what came of it; without a command, what stood before the first prompt."""

    command: str
    output: str
    first_line: int
    last_line: int
    cut: bool
    """Whether lines beyond the 20,000th were left out."""


def command_in(line: str) -> str:
    """Return the command behind a prompt, empty where the line holds no prompt or no command."""
    found = _PROMPT.fullmatch(line) if len(line) <= 5_000 else None
    return found["command"].strip() if found else ""


def exchanges(lines: Iterable[str]) -> Iterator[Exchange]:
    """Cut lines at their prompts."""
    command, start = "", 1
    output: list[str] = []
    last, dropped = 0, 0
    for last, line in enumerate(lines, 1):
        found = command_in(line)
        if found:
            if command or any(output):
                yield _exchange(command, output, start, last - 1, dropped)
            command, start, output, dropped = found, last, [], 0
        elif command.endswith("\\") and not output and (more := _CONTINUATION.fullmatch(line[:5_000])):
            command = f"{command}\n{more['command']}"
        elif len(output) < _LONGEST_OUTPUT:
            output.append(line)
        else:
            dropped += 1
    if command or any(output):
        yield _exchange(command, output, start, last, dropped)


def _exchange(command: str, output: list[str], first: int, last: int, dropped: int) -> Exchange:
    return Exchange(command, "\n".join(output).strip("\n"), first, max(last, first), bool(dropped))
