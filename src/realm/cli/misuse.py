"""What the command line's parser refuses, as one of our errors: what is wrong, which help tells more."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence

from typer.core import TyperGroup
from typer.exceptions import TyperException

from realm.cli.options import FLAGS, VALUES
from realm.core.errors import UsageError

_NAME_LIMIT = 100
"""Characters of a mistyped option that are compared."""


def misuse(error: TyperException, root: object, words: Sequence[str]) -> UsageError:
    """Return the error, with the help of the very command that was meant and the nearest option.

    `words` are the arguments of the command line without the options that every command has.
    """
    name, command = _meant(root, words)
    hint = f"see `{name} --help`"
    # Only the error about an option that is not there bears possibilities, by the parser's own rule.
    if hasattr(error, "possibilities") and hasattr(error, "option_name"):
        near = _nearest(str(error.option_name), _options(command))
        return UsageError(str(error), hint=f"did you mean {near}? {hint}" if near else hint)
    return UsageError(error.format_message(), hint=hint)


def _meant(root: object, words: Sequence[str]) -> tuple[str, object]:
    """Return the name and the command that the first words lead to."""
    name, command = "realm", root
    for word in words:
        found = command.commands.get(word) if isinstance(command, TyperGroup) else None
        if found is None:
            break
        name, command = f"{name} {word}", found
    return name, command


def _nearest(option: str, known: Iterator[str]) -> str:
    """Return the known option that is most like one, dashes aside; empty where none is."""
    bare = {name.lstrip("-"): name for name in known}
    near = difflib.get_close_matches(option.lstrip("-")[:_NAME_LIMIT], bare, n=1)
    return bare[near[0]] if near else ""


def _options(command: object) -> Iterator[str]:
    """Yield the options of a command, and those that every command has."""
    for parameter in getattr(command, "params", ()):
        yield from (name for name in (*parameter.opts, *parameter.secondary_opts) if name.startswith("-"))
    yield from (*FLAGS, *VALUES, "--help")
