"""A group of commands, such as `realm queue …`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import typer

Commands = Mapping[str, Callable[..., Any]]
"""What each command of a group does, by its name."""


def add_group(app: typer.Typer, name: str, what: str, commands: Commands) -> None:
    """Add `realm NAME COMMAND` for each command; `what` says in one line what the group is for."""
    first = next(iter(commands))
    group = typer.Typer(
        help=f"{what}\n\nExample: realm {name} {first}", no_args_is_help=True, rich_markup_mode=None
    )
    for command, function in commands.items():
        group.command(command)(function)
    app.add_typer(group, name=name)
