"""`realm train`: one run, on the screen until it has ended."""

from __future__ import annotations

import typer

from realm.cli.options import Options
from realm.cli.output import print_json, print_line
from realm.cli.play import show_events


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("train")(train)


def train(
    ctx: typer.Context,
    rows: str = typer.Argument(help="A .jsonl file, or a dataset's name or hash."),
    recipe: str | None = typer.Option(
        None, help="A recipe's name or YAML file; else the hero's recipe for files."
    ),
    migrate: bool = typer.Option(
        False, "--migrate", help="Change what the campaign is bound to: base, context length, tokenizer."
    ),
    wait: bool = typer.Option(True, help="Show the run until it has ended; else only queue it."),
) -> None:
    """Train the hero on a file or a dataset, live on the screen.

    Where the lab is up (`realm up`) it does the work, and goes on with it after Ctrl-C; else this command
    does. Ctrl-C then ends the run at its last checkpoint, where `realm up` goes on, and so does the next
    `realm train` before its own run. The exit code is 1 where the run failed, 4 where the lab went down
    before it ended, 130 after Ctrl-C.

    Example: realm train chats.jsonl --recipe study
    """
    from realm.core.errors import UnavailableError
    from realm.flows.carrying import ENDED, carried_out
    from realm.flows.train import plan_training

    options: Options = ctx.obj
    with options.realm() as realm:
        job = plan_training(realm.lab, rows, recipe=recipe, migrate=migrate)
        overrides = realm.lab.ledger.runs.get(job.id).spec["overrides"]
        if not options.json:
            print_line(f"{job.id}: {job.title}")
            for line in overrides:
                print_line(f"  overrides {line}")
        if wait:
            with show_events(realm, options, told={job.id}) as watching:
                job = carried_out(realm.lab, job)
                watching.close()
            if job.state not in ENDED:
                raise UnavailableError(
                    f"{job.id}: the lab went down before it ended", hint="`realm up` goes on with it"
                )
    if options.json:
        print_json(job)
    elif wait:
        print_line(f"{job.id}: {job.state.value} {job.reason}".rstrip())
    if job.state.value == "failed":
        raise typer.Exit(1)
