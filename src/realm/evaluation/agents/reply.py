"""What a stand-in for a command answers, and how its subcommands are found."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from realm.core.errors import NotFoundError, RefusedError, UsageError
from realm.core.records import Record


class Reply(Record):
    """What a command of ours answers."""

    exit: int = 0
    output: str = ""


def answered(
    name: str, commands: Mapping[str, Callable[[Sequence[str]], str]], words: Sequence[str]
) -> Reply:
    """Answer the words behind a command. A mistake is an answer with exit code 1 or 2, as on a terminal."""
    if not words or words[0] not in commands:
        return Reply(exit=2, output=f"{name}: one of these is expected: {', '.join(commands)}\n")
    try:
        return Reply(output=commands[words[0]](words[1:]))
    except UsageError as error:
        return Reply(exit=2, output=f"Error: {error.what}\n")
    except (NotFoundError, RefusedError) as error:
        return Reply(exit=1, output=f"Error: {error.what}\n")
