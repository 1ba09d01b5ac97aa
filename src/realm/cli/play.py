"""`realm play`: the whole wheel, live on the screen."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Collection, Iterator
from pathlib import Path
from shutil import which
from typing import TYPE_CHECKING

import typer

from realm.cli.options import Options
from realm.cli.output import print_json

if TYPE_CHECKING:
    from realm.core.events import Event
    from realm.flows.play import PlaySummary
    from realm.lab import Realm

PLAY_HOME = Path("realm-play")
PROGRESS_S = 10.0
"""Time between two lines about steps, where there is no terminal."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("play")(play)


def play(
    ctx: typer.Context,
    seed: int | None = typer.Option(
        None, min=0, help="Decides the first weights and every drill; 0 for a new realm."
    ),
    levels: int = typer.Option(2, min=1, max=6, help="How many levels to gain."),
    max_steps: int = typer.Option(2000, min=1, help="Give up after so many training steps."),
) -> None:
    """Take a blank model to a promoted champion, live on the screen.

    Without a realm it is created in ./realm-play. An interrupted play goes on where it was.

    Example: realm play --seed 3
    """
    options: Options = ctx.obj
    with _play_realm(options, seed) as realm, show_events(realm, options) as watching:
        summary = realm.play(levels=levels, max_steps=max_steps)
        watching.close()
    if options.json:
        print_json(summary)
    else:
        _print_summary(summary, realm.home.root)
    if summary.levels_gained < levels:
        raise typer.Exit(1)


def _play_realm(options: Options, seed: int | None) -> Realm:
    from realm.core.errors import UsageError
    from realm.flows.home import CONFIG_NAME
    from realm.flows.play import PRESET, THRESHOLD
    from realm.lab import Realm

    home = options.home or Path(os.environ.get("REALM_HOME") or PLAY_HOME)
    if (home / CONFIG_NAME).exists():
        realm = Realm(home, overrides=options.sets)
        if seed not in (None, realm.config.hero()[1].seed):
            raise UsageError(
                f"{home} was begun with seed {realm.config.hero()[1].seed}, not {seed}",
                hint=f"go on with that seed, or elsewhere: realm --home {home}-{seed} play --seed {seed}",
            )
        return realm
    settings = {"seed": str(seed or 0), "threshold": THRESHOLD, "preset": PRESET}
    Realm.create(home, "dio", settings=settings).close()
    return Realm(home, overrides=options.sets)


@contextlib.contextmanager
def show_events(
    realm: Realm, options: Options, *, told: Collection[str] = ()
) -> Iterator[contextlib.ExitStack]:
    """Show events: a live panel on a terminal, lines otherwise, on stderr with --json.

    Of the jobs in `told` the command itself tells how they ended.
    """
    from rich.console import Console

    from realm.cli.battle import Battle, Pace, plain, progress
    from realm.core.events import JobEnded, StepTaken

    console = Console(stderr=options.json)
    title = f"Realm · {realm.lab.hero_name} · seed {realm.config.hero()[1].seed}"
    battle = Battle(
        title, lambda name, level: realm.skill(name).level(level), realm.config.curriculum.evaluations
    )

    next_progress, pace = time.monotonic(), Pace()

    def line(event: Event) -> None:
        nonlocal next_progress
        left_s = pace.left_s(event) if isinstance(event, StepTaken) else 0.0
        if (text := plain(event)) is not None:
            console.print(text, highlight=False, soft_wrap=True)
        elif isinstance(event, StepTaken) and time.monotonic() >= next_progress:
            console.print(progress(event, left_s), highlight=False, soft_wrap=True)
            next_progress = time.monotonic() + PROGRESS_S

    show = battle.take if console.is_terminal else line

    def take(event: Event) -> None:
        if not (isinstance(event, JobEnded) and event.job in told):
            show(event)

    with contextlib.ExitStack() as stack:
        if console.is_terminal:
            from rich.live import Live

            stack.enter_context(Live(get_renderable=battle.render, console=console, refresh_per_second=5))
        realm.attach(take)
        yield stack


def _print_summary(summary: PlaySummary, home: Path) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from realm.cli.battle import interval_cells

    console = Console()
    mastered = (
        ", ".join(f"{skill} up to level {level}" for skill, level in summary.mastered.items())
        or "nothing yet"
    )
    console.print(
        f"\n[bold]{summary.levels_gained} levels gained[/] · mastered: {mastered} "
        f"· this play took {summary.seconds:.0f} s"
    )
    if summary.champion is None:
        console.print(
            "No model has passed the gate yet. The steps are used up: play again with a larger --max-steps."
        )
        return
    console.print(
        f"champion [bold green]{summary.champion.name}[/] at step {summary.champion.step} "
        f"· {summary.champion.hash[:19]}"
    )
    table = Table(
        title="The champion on held-out problems of all mastered levels", title_justify="left", box=None
    )
    for header in ("primitive", "right", "share", "95 % interval", ""):
        table.add_column(header)
    for name, interval in {**summary.accuracy, "all": summary.pooled}.items():
        table.add_row(name, *interval_cells(interval))
    console.print(table)
    console.print("\nFive problems it has never seen:")
    for answer in summary.answers:
        mark = Text("✓", style="green") if answer.correct else Text("✗", style="red")
        console.print(Text.assemble("  ", mark, f" {answer.prompt}  →  {answer.answer}"))
    realm = f"{_command()} --home {_near(home)}"
    steps = {
        f"{realm} chat {summary.hero}@champion": "talk to it",
        f"{realm} ledger list": "every checkpoint and its scores",
        f"{realm} up": "let it go on to the next levels",
        f"cp mine.jsonl {_near(home)}/inbox/": "train it on your own rows",
    }
    width = max(len(step) for step in steps)
    console.print("\nNext:")
    for step, what in steps.items():
        console.print(f"  {step:{width}}  {what}", highlight=False, soft_wrap=True)


def _command() -> str:
    """Return how to call this program from here: by its name, or in the environment it lies in."""
    return "realm" if which("realm") else str(_near(Path(sys.executable).parent / "realm"))


def _near(path: Path) -> Path:
    """Return a path as short as it can be written from here."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
