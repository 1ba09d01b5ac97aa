"""`realm data hook`: have an agent hand its sessions to the lab when they end."""

from __future__ import annotations

import sys
from pathlib import Path

import typer

from realm.cli.options import Options
from realm.cli.output import print_json, print_line
from realm.core.paths import expanded


def hook(
    ctx: typer.Context,
    write: Path | None = typer.Option(
        None, metavar="SETTINGS.json", help="Put the entry into this file, beside what is in it."
    ),
) -> None:
    """Print the entry for an agent's settings that hands each session to this lab when it ends.

    `--write` adds it to a settings file, in place of an older entry of ours; everything else in the file
    stays, and its former content is kept beside it. The hook prints nothing and never holds the agent up.

    Example: realm data hook --write ~/.claude/settings.json
    """
    from realm.corpus.agents.hook import hook_entry, write_into
    from realm.flows.home import find_home

    options: Options = ctx.obj
    entry = hook_entry(find_home(options.home).root, program=_program())
    if write is None:
        print_json(entry)
        if not options.json and sys.stdout.isatty():
            print_line("Put this into the agent's settings, or let --write ~/.claude/settings.json do it.")
        return
    written = write_into(expanded(write), entry)
    if options.json:
        print_json(written)
    elif not written.changed:
        print_line(f"{written.settings}: the entry is there already")
    else:
        kept = f"; what it held is kept in {written.backup}" if written.backup else ""
        print_line(f"{written.settings}: sessions come to this lab when they end{kept}")


def _program() -> tuple[str, ...]:
    """Return how a hook calls this program: an agent's shell has no virtual environment in its PATH."""
    beside = Path(sys.executable).with_name("realm")
    return (str(beside),) if beside.is_file() else (sys.executable, "-m", "realm.cli.main")
