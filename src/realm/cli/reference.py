"""Write the command-line reference out of the commands themselves: `python -m realm.cli.reference FILE`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from realm.cli.main import COMMON, app

HEAD = """# The command line

Written by `make docs` out of the commands; `make check` fails when it is out of date.
"""
CODES = """
Exit codes: 0 done · 1 refused or failed check · 2 wrong use or bad config · 3 no such thing · 4 unavailable,
may be retried · 130 interrupted. An error is one block on standard error: what happened, to what, what to
do next.
"""


def reference() -> str:
    """Return the whole reference as Markdown."""
    root = get_command(app)
    return "".join([HEAD, COMMON, CODES, *_sections(root, "realm")])


def commands() -> Iterator[tuple[str, TyperCommand]]:
    """Yield every command that does something, with its full name."""
    yield from _leaves(get_command(app), "realm")


def _leaves(command: object, name: str) -> Iterator[tuple[str, TyperCommand]]:
    if isinstance(command, TyperGroup):
        for child_name, child in command.commands.items():
            yield from _leaves(child, f"{name} {child_name}")
    elif isinstance(command, TyperCommand):
        yield name, command


def _sections(root: object, name: str) -> Iterator[str]:
    for full_name, command in _leaves(root, name):
        context = typer.Context(command, info_name=full_name, terminal_width=100, max_content_width=100)
        yield f"\n## `{full_name}`\n\n```\n{command.get_help(context)}\n```\n"


def main() -> None:
    """Write the reference to the file named on the command line."""
    Path(sys.argv[1]).write_text(reference(), encoding="utf-8")


if __name__ == "__main__":
    main()
