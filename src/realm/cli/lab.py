"""`realm init|up|down|status|hero|config`: the lab as a whole."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from realm.cli.groups import add_group
from realm.cli.options import Options
from realm.cli.output import ago, print_json, print_line
from realm.cli.play import show_events
from realm.core.clock import utc_now
from realm.core.errors import UsageError
from realm.core.paths import expanded

if TYPE_CHECKING:
    from realm.flows.reconcile import Reconciled
    from realm.flows.status import Status
    from realm.lab import Realm


SHEET = ("level", "experience", "inverse_loss", "inverse_validation_loss", "accuracy", "correct_answers")
"""What `realm hero` shows, in this order; `core.lore` has the words."""


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (init, up, down, status, hero):
        app.command(command.__name__)(command)
    checks = {"show": config_show, "check": config_check, "schema": config_schema}
    add_group(app, "config", "Read and check realm.yaml.", checks)


def init(
    ctx: typer.Context,
    path: Path | None = typer.Argument(None, help="The new realm's folder; else --home, or this one."),
    template: str = typer.Option("dio", help="What to start from."),
) -> None:
    """Create a realm: one folder with its config, inbox and vault.

    Example: realm init lab --template dio
    """
    from realm.lab import Realm

    options: Options = ctx.obj
    if path is not None and options.home is not None and not _same_folder(path, options.home):
        raise UsageError(f"two folders for one realm: {path} and --home {options.home}", hint="give one")
    folder = path or options.home or Path()
    with Realm.create(folder, template) as realm:
        root = realm.home.root
    if options.json:
        print_json({"home": str(root), "template": template})
    else:
        print_line(f"A realm lives in {root} now.\nNext: cd {folder} && realm up")


def _same_folder(one: Path, other: Path) -> bool:
    return expanded(one).resolve() == expanded(other).resolve()


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
    with options.realm() as realm, show_events(realm, options):
        realm.up(lambda: bool(ended), on_ready=lambda found: _ready(realm, found, options))
        found = realm.status()
    if options.json:
        print_json(found)


def _ready(realm: Realm, found: Reconciled, options: Options) -> None:
    stream = sys.stderr if options.json else sys.stdout
    if not found.clean:
        stream.write(
            f"put right after the last run: {len(found.quarantined)} unknown folders quarantined, "
            f"{found.stages_removed} unfinished stages removed, {len(found.requeued)} runs queued again\n"
        )
        for name in found.missing:
            stream.write(f"missing on disk: {name}\n")
        for name in found.restored:
            stream.write(f"whole again: {name}\n")
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
    waiting = " · ".join(f"{count} {state}" for state, count in found.queue.items() if count)
    print_line(f"queue     {waiting or 'empty'}")
    for job in found.failed:
        print_line(f"failed    {job.id}: {job.reason.splitlines()[0]}")
    if found.waiting_for:
        print_line(f"waiting   {found.waiting_for}")
    if found.running:
        run = found.running
        print_line(f"running   {run.id} {run.title} step {run.step}/{run.steps_total or '?'}")
    elif found.working_on:
        print_line(f"running   {found.working_on.id} {found.working_on.title}")
    print_line(f"champion  {found.champion or 'none yet'}")
    for skill in found.skills:
        share = f" · newest {skill.newest.correct}/{skill.newest.total}" if skill.newest else ""
        print_line(
            f"skill     {skill.name}: mastered {skill.mastered_level or '–'}, "
            f"training level {skill.training_level}, {skill.streak}/{skill.needed} passes{share}"
        )
        for level in skill.too_small:
            print_line(f"          level {level} is too small to test")
    for left_out in found.left_out:
        print_line(f"left out  {left_out.skill}: {left_out.reason}")
    for source in found.sources:
        collected = (
            f"collected {ago(source.collected_at, utc_now())} ago"
            if source.collected_at
            else "never collected"
        )
        waits = f" · {source.waiting} wait: realm data review" if source.waiting else ""
        print_line(f"source    {source.name} ({source.kind}): {collected}{waits}")


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
    for term in SHEET:
        value = getattr(sheet, term)
        shown = "–" if value is None else f"{value:.4g}" if isinstance(value, float) else value
        print_line(f"{word(term):10} {shown}")
    for skill in sheet.skills:
        print_line(f"{skill.skill:10} {word('level')} {skill.mastered_level or '–'}")


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


def config_check(
    ctx: typer.Context,
    recipes: list[str] = typer.Argument(
        None, help="Recipes to check instead, by name or YAML file; this needs no realm."
    ),
) -> None:
    """Check realm.yaml and the recipes it names, or recipes alone.

    Example: realm config check 8b-lora-64k mine.yaml
    """
    from realm.flows.config import check_home
    from realm.flows.home import find_home

    options: Options = ctx.obj
    if recipes:
        _check_recipes(options, recipes)
        return
    digest = check_home(find_home(options.home), options.sets)
    if options.json:
        print_json({"valid": True, "hash": digest})
    else:
        print_line(f"valid · {digest[:19]}")


def _check_recipes(options: Options, names: list[str]) -> None:
    from realm.core.hashing import hash_json
    from realm.flows.config import known_recipe

    found = [known_recipe(options.home, name) for name in names]
    digests = [hash_json(one.recipe.model_dump(mode="json")) for one in found]
    if options.json:
        print_json(
            [
                {"recipe": one.name, "valid": True, "hash": digest, "overrides": one.overrides}
                for one, digest in zip(found, digests, strict=True)
            ]
        )
        return
    for one, digest in zip(found, digests, strict=True):
        print_line(f"{one.name}: valid · {digest[:19]} {one.recipe.title}".rstrip())
        for line in one.overrides:
            print_line(f"  overrides {line}")


def config_schema(ctx: typer.Context) -> None:
    """Print the JSON Schema of realm.yaml. Needs no realm.

    Example: realm config schema > realm.schema.json
    """
    from realm.flows.config import schema

    print_json(schema())
