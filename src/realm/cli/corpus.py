"""`realm data add|build|lineage`: from what a person has to datasets."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from realm.cli.bars import bar
from realm.cli.options import Options
from realm.cli.output import print_json, print_line, print_table

if TYPE_CHECKING:
    from realm.corpus.assembly.assembler import Assembly
    from realm.corpus.assembly.conventions import Resolution
    from realm.corpus.check import Depth
    from realm.corpus.tally import Reason
    from realm.flows.build import BuildReport


def add(
    ctx: typer.Context,
    paths: list[str] = typer.Argument(
        None, help="Files, folders and git URLs; none collects what is new everywhere."
    ),
    kind: str | None = typer.Option(None, help="Kind of source; else what the path shows."),
    name: str | None = typer.Option(None, help="What the lab calls the source; else the path's name."),
    setting: list[str] = typer.Option(
        [], metavar="KEY=VALUE", help="A setting of the source, such as licence=MIT. May be repeated."
    ),
    dry_run: bool = typer.Option(False, "--dry-run", help="Write nothing; show what would be collected."),
    sample: int = typer.Option(3, min=0, max=100, help="Documents that a dry run shows."),
    from_hook: bool = typer.Option(
        False, "--from-hook", help="Take the session that an agent's hook names on standard input."
    ),
) -> int:
    """Collect from sources: read what is new, scrub it, keep it in the vault.

    A second call takes only what is new or has changed. Interrupted, it goes on where it was. Without a path,
    the sources of `realm.yaml` and those that were added before; one that fails keeps no other from it, and
    the command leaves with 1.

    Example: realm data add ~/flecs --name flecs --setting licence=MIT
    """
    from realm.cli import adding
    from realm.core.errors import UsageError

    options: Options = ctx.obj
    paths = paths or []
    if from_hook:
        return adding.from_hook(options)
    if name and len(paths) > 1:
        raise UsageError("--name names one source", hint="add one path at a time")
    if not paths and (dry_run or kind or name or setting):
        raise UsageError("no path", hint="name a file, a folder or a git URL")
    settings = adding.settings_of(setting)
    if dry_run:
        adding.preview(options, paths, kind=kind, name=name, settings=settings, sample=sample)
        return 0
    return adding.collect(options, paths, kind=kind, name=name, settings=settings)


def depth_of(given: str) -> Depth:
    """Return the depth of checks that a word names. Raises UsageError for another word."""
    from realm.core.errors import UsageError
    from realm.corpus.check import Depth

    try:
        return Depth(given)
    except ValueError:
        raise UsageError(f"--depth {given}: no such depth", hint=f"one of: {', '.join(Depth)}") from None


def build(
    ctx: typer.Context,
    sources: list[str] = typer.Argument(None, help="Sources by name; none takes all."),
    name: str = typer.Option("corpus", help="What the datasets are called."),
    depth: str = typer.Option("", help="quick, standard or deep; else the lab's."),
    rig: str | None = typer.Option(None, help="Build for this rig alone."),
    dry_run: bool = typer.Option(False, "--dry-run", help="Publish nothing; show what would come of it."),
    sample: int = typer.Option(0, min=0, max=100, help="Rows to show."),
) -> None:
    """Build datasets: resolve, shape, check, leave out duplicates, split, publish.

    Example: realm data build --name gamedev --dry-run --sample 3
    """
    from realm.flows.build import BuildPlan

    options: Options = ctx.obj
    with options.realm() as realm, bar("documents") as show:
        plan = BuildPlan(
            name=name,
            sources=tuple(sources or ()),
            depth=depth_of(depth) if depth else realm.config.corpus.depth,
            rig=rig,
            dry_run=dry_run,
            sample=sample,
        )
        report = realm.build(plan, lambda at: show(at.stage, at.done, at.total))
    if options.json:
        print_json(report)
    else:
        _print_build(report)


def lineage(
    ctx: typer.Context,
    row: str = typer.Argument(help="A dataset's name or hash; with #N its row N, from 0."),
) -> None:
    """Say what a dataset or one of its rows came from: source, session, commit, licence, versions.

    Example: realm data lineage 3f2a81#17
    """
    from realm.flows.lineage import lineage_of

    options: Options = ctx.obj
    with options.realm() as realm:
        found = lineage_of(realm.lab, row)
    if options.json:
        print_json(found)
    else:
        for key, value in found.model_dump(mode="json", exclude_none=True).items():
            print_line(f"{key}: {value}")


def _print_build(report: BuildReport) -> None:
    print_line(f"{report.documents:,} documents → {report.rows:,} rows")
    print_table(
        ("dataset", "side", "spec", "rows", "hash"),
        ((d.name, d.side, d.spec, d.rows, d.hash[7:19]) for d in report.datasets),
        empty="Nothing was published.",
    )
    print_table(
        ("partition", "rows", "share"),
        ((part.name, part.rows, f"{part.share:.1%}") for part in report.assembly.partitions.parts),
        empty="No partitions.",
    )
    _print_assembly(report.assembly)
    _print_resolution(report.resolution)
    _print_reasons(report.left_out)
    for row in report.sample:
        print_line(row.model_dump_json(exclude_defaults=True))
    trained = next((dataset.name for dataset in report.datasets if dataset.side == "train"), None)
    if trained is not None:
        print_line(f"→ train on it: realm train {trained}")


def _print_resolution(resolution: Resolution) -> None:
    """Name what a person must decide: conventions that went back, and those without a time."""
    if resolution.reversions:
        print_table(
            ("went back", "document", "says again what", "against"),
            ((each.subject, each.document, each.like, each.undone) for each in resolution.reversions),
            empty="",
        )
    for each in resolution.undated:
        print_line(f"versions without a time, all taught: {each.subject}: {', '.join(each.documents[:5])}")


def _print_assembly(assembly: Assembly) -> None:
    """Say what a person should look at: what is missing, too small, or spelt wrong."""
    if assembly.balance is not None:
        print_table(
            (assembly.balance.by, "rows", "target", "missing", "too many"),
            ((s.value, s.rows, s.target, s.missing, s.surplus) for s in assembly.balance.standings),
            empty="No rows have targets.",
        )
    if not assembly.split.within:
        low, high = assembly.split.expected
        print_line(
            f"evaluation has {assembly.split.eval_share:.1%} of the rows, expected {low:.1%} to {high:.1%}: "
            f"the largest group has {assembly.split.largest_group:,}"
        )
    if assembly.partitions.too_small:
        print_line(f"too few rows to train on: {', '.join(assembly.partitions.too_small)}")
    if assembly.partitions.unused_weights:
        print_line(f"weights that match no partition: {', '.join(assembly.partitions.unused_weights)}")


def _print_reasons(reasons: tuple[Reason, ...]) -> None:
    if reasons:
        print_table(
            ("left out or changed", "count", "first seen"),
            ((reason.reason, reason.count, ", ".join(reason.examples[:2])) for reason in reasons),
            empty="",
        )
