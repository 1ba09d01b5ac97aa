"""`realm drift`: whether the conventions have moved on since the corpus was built."""

from __future__ import annotations

import typer

from realm.cli.options import Options
from realm.cli.output import print_json, print_line, print_table
from realm.core.text import printable


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("drift")(drift)


def drift(
    ctx: typer.Context,
    dataset: str | None = typer.Argument(
        None, help="A built dataset by name or hash; without one the newest that the hero was trained on."
    ),
) -> None:
    """Compare the conventions of a build with those that hold now.

    Leaves with 1 where they have moved so far that the hero should be trained again. What holds now is
    what `realm up` or `realm data add` saw last, less what is gone since.

    Example: realm drift
    """
    from realm.flows.drift import staleness

    options: Options = ctx.obj
    with options.realm() as realm:
        found = staleness(realm.lab, dataset)
        limit = realm.config.drift.retrain_above
    report = found.report
    if options.json:
        print_json(found)
    else:
        print_line(f"{found.dataset}: drift {report.score:.3f} ({report.embedder})")
        print_table(
            ["kind", "weight", "files", "changed", "added", "removed", "distance"],
            [
                (k.kind, k.weight, k.files, len(k.changed), len(k.added), len(k.removed), f"{k.distance:.3f}")
                for k in report.kinds
            ],
            empty="",
        )
        for kind in report.kinds:
            for mark, paths in (("~", kind.changed), ("+", kind.added), ("-", kind.removed)):
                for path in paths[:20]:
                    print_line(f"  {mark} {printable(path)}")
        for doubt in found.doubts:
            print_line(f"{doubt.source}: what came or went cannot be told: {doubt.reason}")
        if report.retrain:
            print_line(f"above {limit:g}: build the corpus again and train on it")
    if report.retrain:
        raise typer.Exit(1)
