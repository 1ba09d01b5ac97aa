"""`realm init|play|up|down|status|hero|config`: the lab as a whole."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from realm.cli.options import Options
from realm.cli.output import print_json, print_line

if TYPE_CHECKING:
    from realm.core.events import Event
    from realm.flows.play import PlaySummary
    from realm.flows.reconcile import Reconciled
    from realm.flows.status import Status
    from realm.lab import Realm

PLAY_HOME = Path("realm-play")


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("init")(init)
    app.command("play")(play)
    app.command("up")(up)
    app.command("down")(down)
    app.command("status")(status)
    app.command("hero")(hero)
    config = typer.Typer(
        help="Read and check realm.yaml.\n\nExample: realm config check",
        no_args_is_help=True,
        rich_markup_mode=None,
    )
    config.command("show")(config_show)
    config.command("check")(config_check)
    config.command("schema")(config_schema)
    app.add_typer(config, name="config")


def init(
    ctx: typer.Context,
    path: Path = typer.Argument(Path("."), help="The new realm's folder."),
    template: str = typer.Option("dio", help="What to start from."),
) -> None:
    """Create a realm: one folder with its config, inbox and vault.

    Example: realm init lab --template dio
    """
    from realm.lab import Realm

    options: Options = ctx.obj
    with Realm.create(path, template) as realm:
        root = realm.home.root
    if options.json:
        print_json({"home": str(root), "template": template})
    else:
        print_line(f"A realm lives in {root} now.\nNext: cd {path} && realm up")


def play(
    ctx: typer.Context,
    seed: int = typer.Option(0, min=0, help="Decides the first weights and every drill."),
    levels: int = typer.Option(2, min=1, max=6, help="How many levels to gain."),
    max_steps: int = typer.Option(2000, min=1, help="Give up after so many training steps."),
) -> None:
    """Take a blank model to a promoted champion, live on the screen.

    Without a realm it is created in ./realm-play. An interrupted play goes on where it was.

    Example: realm play --seed 3
    """
    options: Options = ctx.obj
    with _play_realm(options, seed) as realm, _view(realm, options) as watching:
        summary = realm.play(levels=levels, max_steps=max_steps)
        watching.close()
    if options.json:
        print_json(summary)
    else:
        _print_summary(summary, realm.home.root)
    if summary.levels_gained < levels:
        raise typer.Exit(1)


def _play_realm(options: Options, seed: int) -> Realm:
    from realm.core.errors import UsageError
    from realm.flows.home import CONFIG_NAME
    from realm.flows.play import THRESHOLD
    from realm.lab import Realm

    home = options.home or Path(os.environ.get("REALM_HOME") or PLAY_HOME)
    if (home / CONFIG_NAME).exists():
        realm = Realm(home, overrides=options.sets)
        if realm.config.hero()[1].seed != seed:
            raise UsageError(
                f"{home} was begun with seed {realm.config.hero()[1].seed}, not {seed}",
                hint=f"go on with that seed, or choose another folder: realm --home {home}-{seed} play --seed {seed}",
            )
        return realm
    Realm.create(home, "dio", settings={"seed": str(seed), "threshold": THRESHOLD}).close()
    return Realm(home, overrides=options.sets)


@contextlib.contextmanager
def _view(realm: Realm, options: Options) -> Iterator[contextlib.ExitStack]:
    """Show events: a live panel on a terminal, lines otherwise, on stderr with --json."""
    from rich.console import Console

    from realm.cli.battle import Battle, plain

    console = Console(stderr=options.json)
    title = f"Realm · {realm.lab.hero_name} · seed {realm.config.hero()[1].seed}"
    battle = Battle(
        title, lambda name, level: realm.skill(name).level(level), realm.config.curriculum.evaluations
    )

    def line(event: Event) -> None:
        if (text := plain(event)) is not None:
            console.print(text, highlight=False)

    with contextlib.ExitStack() as stack:
        if console.is_terminal:
            from rich.live import Live

            stack.enter_context(Live(get_renderable=battle.render, console=console, refresh_per_second=5))
            realm.attach(battle.take)
        else:
            realm.attach(line)
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
        f"\n[bold]{summary.levels_gained} levels gained[/] in {summary.seconds:.0f} s · mastered: {mastered}"
    )
    if summary.champion is None:
        console.print(
            "No model has passed the gate yet. The steps are used up: play again with a larger --max-steps to go on."
        )
        return
    console.print(
        f"champion [bold green]{summary.champion.name}[/] at step {summary.champion.step} · {summary.champion.hash[:19]}"
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
    console.print(
        f"\nNext:\n  realm --home {home} chat {summary.hero}@champion     talk to it"
        f"\n  realm --home {home} ledger list             every checkpoint and its scores"
        f"\n  realm --home {home} up                      let it go on to the next levels"
        f"\n  cp mine.jsonl {home}/inbox/                 train it on your own rows\n",
        highlight=False,
    )


def up(ctx: typer.Context) -> None:
    """Run the lab: watch the inbox, work the queue, train. Ctrl-C ends it; nothing is lost.

    Example: realm up
    """
    options: Options = ctx.obj
    ended: list[int] = []

    def end(number: int, frame: object) -> None:
        ended.append(number)

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    with options.realm() as realm, _view(realm, options):
        realm.up(lambda: bool(ended), on_ready=lambda found: _ready(realm, found, options))


def _ready(realm: Realm, found: Reconciled, options: Options) -> None:
    stream = sys.stderr if options.json else sys.stdout
    if not found.clean:
        stream.write(
            f"put right after the last run: {len(found.quarantined)} unknown folders quarantined, "
            f"{found.stages_removed} unfinished stages removed, {len(found.requeued)} runs queued again\n"
        )
        for name in found.missing:
            stream.write(f"missing on disk: {name}\n")
    stream.write(
        f"realm {realm.config.name} is up (pid {os.getpid()}). Drop .jsonl files into {realm.home.inbox}\n"
    )
    stream.flush()


def down(ctx: typer.Context) -> None:
    """End the `realm up` that holds this realm. What is running goes on at the next start.

    Example: realm down
    """
    from realm.flows.control import shut_down

    options: Options = ctx.obj
    with options.realm() as realm:
        ended = shut_down(realm.lab)
    if options.json:
        print_json({"ended": ended})
    else:
        print_line(f"the lab (pid {ended}) has ended" if ended else "the lab was not up")


def status(ctx: typer.Context) -> None:
    """Say what the lab does now and where its hero stands.

    Example: realm status --json
    """
    options: Options = ctx.obj
    with options.realm() as realm:
        found = realm.status()
    if options.json:
        print_json(found)
    else:
        _print_status(found)


def _print_status(found: Status) -> None:
    held = f"up (pid {found.holder.pid})" if found.holder else "down: start it with `realm up`"
    print_line(f"realm     {found.name} · {found.home}")
    print_line(f"lab       {held}")
    print_line(
        f"queue     {' · '.join(f'{count} {state}' for state, count in found.queue.items() if count) or 'empty'}"
    )
    for job in found.failed:
        print_line(f"failed    {job.id}: {job.reason.splitlines()[0]}")
    if found.running:
        run = found.running
        print_line(f"running   {run.id} {run.title} step {run.step}/{run.steps_total or '?'}")
    print_line(f"champion  {found.champion or 'none yet'}")
    for skill in found.skills:
        share = f" · newest {skill.newest.correct}/{skill.newest.total}" if skill.newest else ""
        print_line(
            f"skill     {skill.name}: mastered {skill.mastered_level or '–'}, training level {skill.training_level}, "
            f"{skill.streak}/{skill.needed} passes{share}"
        )
        for level in skill.too_small:
            print_line(f"          level {level} is too small to test")


def hero(ctx: typer.Context) -> None:
    """Show the hero's sheet: every figure measured, a dash where nothing measured it.

    Example: realm hero
    """
    from realm.core.lore import word

    options: Options = ctx.obj
    with options.realm() as realm:
        sheet = realm.sheet()
    if options.json:
        print_json(sheet)
        return
    for term, value in sheet.terms().items():
        shown = "–" if value is None else f"{value:.4g}" if isinstance(value, float) else value
        print_line(f"{word(term):10} {shown}")


def config_show(ctx: typer.Context) -> None:
    """Print the resolved configuration.

    Example: realm config show --set curriculum.threshold=0.9
    """
    import yaml

    options: Options = ctx.obj
    with options.realm() as realm:
        data = realm.config.model_dump(mode="json")
    if options.json:
        print_json(data)
    else:
        print_line(yaml.safe_dump(data, sort_keys=False, allow_unicode=True).rstrip())


def config_check(ctx: typer.Context) -> None:
    """Check realm.yaml and the recipes it names.

    Example: realm config check
    """
    from realm.flows.config import check_home
    from realm.flows.home import find_home

    options: Options = ctx.obj
    digest = check_home(find_home(options.home), options.sets)
    if options.json:
        print_json({"valid": True, "hash": digest})
    else:
        print_line(f"valid · {digest[:19]}")


def config_schema(ctx: typer.Context) -> None:
    """Print the JSON Schema of realm.yaml. Needs no realm.

    Example: realm config schema > realm.schema.json
    """
    from realm.flows.config import schema

    print_json(schema())
