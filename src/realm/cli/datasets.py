"""`realm data stats|export`: what datasets say of themselves, and how they leave the lab."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from realm.cli.bars import Tell, bar
from realm.cli.options import Options
from realm.cli.output import print_json, print_line, print_table

if TYPE_CHECKING:
    from realm.corpus.assembly.statistics import DatasetStatistics
    from realm.corpus.assembly.yields import Change, Yield
    from realm.corpus.tally import Reason
    from realm.flows.publishing import Publishing
    from realm.flows.stats import DatasetStats, LabStats, ModelStats, RowsProgress

_SHOWN = 12


def stats(
    ctx: typer.Context,
    dataset: str | None = typer.Argument(None, help="A dataset's name or hash; none tells of all builds."),
    model: str | None = typer.Option(None, help="Tell what this model was trained on and who may use it."),
) -> None:
    """Say what a dataset holds; or what every shaper and check came to, version by version.

    Without a dataset, each document counts once for a version, however often it was built.

    Example: realm data stats gamedev
    """
    from realm.core.errors import UsageError
    from realm.flows.stats import DatasetStats, LabStats

    options: Options = ctx.obj
    if dataset is not None and model is not None:
        raise UsageError("a dataset and --model exclude each other", hint="give one of them")
    found: DatasetStats | LabStats | ModelStats
    with options.realm() as realm, bar("rows") as show:
        if model is not None:
            found = realm.model_stats(model, _showing(show))
        elif dataset is not None:
            found = realm.dataset_stats(dataset, _showing(show))
        else:
            found = realm.lab_stats(_showing(show))
    if options.json:
        print_json(found)
    elif isinstance(found, DatasetStats):
        _print_dataset(found)
    elif isinstance(found, LabStats):
        _print_lab(found)
    else:
        _print_model(found)


def export(
    ctx: typer.Context,
    dataset: str = typer.Argument(help="A dataset's name or hash."),
    out: Path = typer.Option(help="The folder to write; it must not exist yet."),
    file_format: str = typer.Option("jsonl", "--format", help="jsonl or parquet."),
    shape: str = typer.Option("realm", help="realm (also TRL's), openai, sharegpt or alpaca."),
    private: bool = typer.Option(False, "--private", help="A copy that stays in house: skip the gate."),
) -> None:
    """Write a dataset into a folder: rows, sidecar, lineage, card and manifest.

    Refused where a row's licence forbids publication or no search for secrets has run, unless it is
    private. `rows.jsonl` with its sidecar may be dropped into another realm's inbox as it is.

    Example: realm data export gamedev --out ./gamedev --format parquet
    """
    from realm.core.config import validate
    from realm.flows.export import ExportPlan

    options: Options = ctx.obj
    given = {"dataset": dataset, "out": out, "format": file_format, "shape": shape, "private": private}
    plan = validate(ExportPlan, given, where="export")
    with options.realm() as realm, bar("rows") as show:
        done = realm.export(plan, _showing(show))
    if options.json:
        print_json(done)
        return
    print_line(f"{done.facts.rows:,} rows → {done.folder} ({done.size_bytes / 1e6:,.1f} MB)")
    for what, count in done.facts.left_behind.items():
        print_line(f"left behind by the shape {done.facts.shape}: {what} of {count:,} rows")
    if done.facts.publishing.obstacles:
        print_line("private: not for publication")
        _print_publishing(done.facts.publishing)


def _showing(show: Tell) -> Callable[[RowsProgress], None]:
    return lambda at: show(at.dataset, at.done, at.total)


def _print_dataset(found: DatasetStats) -> None:
    numbers = found.statistics
    of_build = f" of a build of {found.build_rows:,}" if found.build_rows not in (None, numbers.rows) else ""
    facts = {
        "dataset": f"{found.name}  {found.hash}",
        "rows": f"{numbers.rows:,}{of_build}, {found.size_bytes / 1e6:,.1f} MB",
        "groups": f"{numbers.groups:,} sessions, files and work items" if numbers.groups else "not known",
        "spec": found.spec + (f", {found.side} side" if found.side else ""),
        "rig": found.rig,
        "came from": found.source,
        "generator": _generator(found.generator),
        "scrubbed": _scrubbed(found.scrub),
        "characters": _lengths(numbers),
        "trained on by": ", ".join(found.runs) or "no run",
        "publishable": "yes" if found.publishing.allowed else "no",
    }
    _print_facts(facts)
    _print_publishing(found.publishing)
    print_table(
        ("licence", "rows", "open"),
        ((each.licence, f"{each.rows:,}", "yes" if each.publishable else "no") for each in numbers.licences),
        empty="no licences",
    )
    print_line("")
    _print_counts("partition", found.partitions)
    for name, counts in numbers.by.items():
        if name != "contributor":
            _print_counts(name, counts)
    _print_contributions(found)
    _print_reasons("left out by the build", numbers.dropped)
    if numbers.checks:
        print_line("checks: " + ", ".join(f"{each.name}@{each.version}" for each in numbers.checks))


def _print_lab(found: LabStats) -> None:
    print_line(f"{found.datasets:,} datasets, {found.builds:,} builds")
    _print_yields("shaper", found.shapers)
    _print_yields("check", found.checks)
    _print_yields("program", found.programs)
    print_table(
        ("version change", "accepted", "95 % bounds", "", "reasons that changed most, per 1,000 rows"),
        (_change(each) for each in found.changes),
        empty="No shaper or check has run in two versions.",
    )
    _print_contributions(found)
    if found.contributions:
        print_line(
            f"{found.rows_for_access:,} accepted rows grant the use of a model: --model MODEL says whose"
        )


def _print_model(found: ModelStats) -> None:
    _print_facts(
        {
            "model": f"{found.model}  {found.checkpoint}",
            "began from": found.base,
            "publishable": "yes" if found.publishing.allowed else "no",
        }
    )
    _print_publishing(found.publishing)
    if not found.whole:
        print_line("A run's beginning is no longer known: all earlier runs of the hero are counted in.")
    print_table(
        ("trained on", "hash", "rows", "runs"),
        (
            (each.name or "no longer in the vault", each.hash[7:19], f"{each.rows:,}", ", ".join(each.runs))
            for each in found.datasets
        ),
        empty="It was trained on nothing yet.",
    )
    print_table(
        ("contributor", "may use it", "why"),
        ((each.contributor, "yes" if each.allowed else "no", each.reason) for each in found.access),
        empty="No row behind it names a contributor.",
    )


def _print_facts(facts: dict[str, str | None]) -> None:
    from realm.core.text import printable

    for name, value in facts.items():
        if value:
            print_line(f"{name:14} {printable(value, 400)}")


def _print_publishing(found: Publishing) -> None:
    from realm.core.text import printable
    from realm.flows.publishing import told

    for each in found.obstacles:
        print_line(f"  ✗ {printable(f'{each.what}: {told(each)}', 400)}")
        print_line(f"    → {each.hint}")


def _print_yields(what: str, found: Iterable[Yield]) -> None:
    print_table(
        (what, "version", "rows", "accepted", "rejected", "first reasons"),
        (
            (
                each.name,
                each.version,
                f"{each.seen:,}",
                "-" if each.rate is None else f"{each.rate:.1%}",
                f"{each.seen - each.accepted:,}",
                _first(each.rejected),
            )
            for each in found
        ),
        empty=f"No {what} has made rows yet.",
    )
    print_line("")


def _change(of: Change) -> tuple[str, ...]:
    reasons = ", ".join(
        f"{each.reason} {each.before_per_1000:.1f} → {each.after_per_1000:.1f}"
        for each in of.reasons[:2]
        if each.before_per_1000 != each.after_per_1000
    )
    bounds = f"{100 * of.low:+.1f} … {100 * of.high:+.1f} points"
    certain = "certain" if of.certain else "may be chance"
    return (
        f"{of.name} {of.before} → {of.after}",
        f"{100 * of.difference:+.1f} points",
        bounds,
        certain,
        reasons,
    )


def _print_counts(name: str, counts: dict[str, int]) -> None:
    shown = list(counts.items())[:_SHOWN]
    rest = list(counts.items())[_SHOWN:]
    if rest:
        shown.append((f"… {len(rest)} more", sum(count for _, count in rest)))
    print_table((name, "rows"), ((value, f"{count:,}") for value, count in shown), empty=f"no {name}")
    print_line("")


def _print_contributions(found: DatasetStats | LabStats) -> None:
    if found.contributions:
        print_table(
            ("contributor", "rows", "rigs"),
            ((each.contributor, f"{each.rows:,}", ", ".join(each.rigs)) for each in found.contributions),
            empty="",
        )


def _print_reasons(head: str, reasons: tuple[Reason, ...]) -> None:
    if reasons:
        print_table(
            (head, "count", "first seen"),
            ((each.reason, f"{each.count:,}", ", ".join(each.examples[:2])) for each in reasons),
            empty="",
        )


def _first(reasons: tuple[Reason, ...]) -> str:
    return ", ".join(f"{each.reason} {each.count:,}" for each in reasons[:3])


def _generator(made: dict[str, Any] | None) -> str | None:
    return f"{made.get('generator_id', '?')} {made.get('generator_version', '')}" if made else None


def _scrubbed(scrub: dict[str, Any] | None) -> str:
    if scrub is None:
        return "no search for secrets has run"
    counts = (f"{scrub.get(name, 0):,} {name}" for name in ("clean", "replaced", "quarantined"))
    return f"documents: {', '.join(counts)}"


def _lengths(of: DatasetStatistics) -> str:
    chars = of.chars
    least, most = f"{chars.least:,}", f"{chars.most:,}"
    return f"{chars.total:,} in all; a row {least} to {most}, median {chars.p50:,}, 95 % {chars.p95:,}"
