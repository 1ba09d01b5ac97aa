"""`realm data`: training files looked at by hand. Nothing is taken and nothing is written."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from realm.cli.bars import bar
from realm.cli.corpus import add, build, depth_of, lineage
from realm.cli.datasets import export, stats
from realm.cli.groups import Commands, add_group
from realm.cli.hook import hook
from realm.cli.mine import mine
from realm.cli.options import Options
from realm.cli.output import print_json, print_line, print_table
from realm.cli.scrub import review, scrub

if TYPE_CHECKING:
    from realm.corpus.check import Depth
    from realm.flows.tokens import RowTokens, TokensReport

_TRAINED = "\x1b[1;32m"
_PLAIN = "\x1b[0m"


def register(app: typer.Typer) -> None:
    """Add the commands."""
    commands: Commands = {
        "add": add,
        "hook": hook,
        "build": build,
        "lineage": lineage,
        "stats": stats,
        "export": export,
        "mine": mine,
        "check": check,
        "tokens": tokens,
        "scrub": scrub,
        "review": review,
    }
    add_group(app, "data", "Collect, build and look at training data.", commands)


def check(
    ctx: typer.Context,
    file: Path = typer.Argument(help="A .jsonl file."),
    depth: str = typer.Option("quick", help="quick: as the inbox would; standard or deep: as a build would."),
) -> int:
    """Check a file without taking it; writes nothing. Leaves with 1 where rows would be left out.

    Needs no realm. In one, standard and deep also look for the hero's held-out problems, count its tokens and
    take the settings of `corpus.checks`.

    Example: realm data check mine.jsonl --depth deep
    """
    from realm.corpus.check import Depth
    from realm.corpus.intake import check as check_file

    options: Options = ctx.obj
    wanted = depth_of(depth)
    if wanted is not Depth.QUICK:
        return _examine(file, wanted, options)
    report = check_file(file)
    if options.json:
        print_json(report)
    else:
        print_line(f"{file}: {report.rows} rows of {report.spec}, {report.duplicates} exact duplicates")
    return 0


def _examine(file: Path, depth: Depth, options: Options) -> int:
    from realm.core.errors import NotFoundError
    from realm.flows.checking import bare_context, context_of
    from realm.flows.examining import examine_file

    with bar("bytes") as show:

        def progress(done: int, total: int) -> None:
            show(file.name, done, total)

        try:
            realm = options.realm()
        except NotFoundError:
            if options.home is not None:
                raise
            found = examine_file(file, depth, bare_context(), (), progress)
        else:
            with realm:
                checks = realm.config.corpus.checks
                found = examine_file(file, depth, context_of(realm.lab), checks, progress)
    examination = found.examination
    if options.json:
        print_json(found)
    else:
        kept = f"{examination.kept:,} of {examination.rows:,} rows stay"
        print_line(f"{file}: {found.file.spec}, {kept} at depth {depth.value}")
        for what, reasons in (("left out", examination.dropped), ("told", examination.told)):
            if reasons:
                shown = ((each.reason, each.count, ", ".join(each.examples[:2])) for each in reasons)
                print_table((what, "rows", "first seen"), shown, empty="")
    return 1 if examination.kept < examination.rows else 0


def tokens(
    ctx: typer.Context,
    file: Path = typer.Argument(help="A .jsonl file."),
    tokenizer: Path | None = typer.Option(None, help="A model's or tokenizer's folder; needs no realm then."),
    model: str | None = typer.Option(
        None, help="A model of the realm; without one the champion, else the latest."
    ),
    rows: int = typer.Option(3, min=0, help="How many rows are shown."),
    recipe: str | None = typer.Option(
        None, help="A recipe's name or YAML file; without one the hero's for files, as `realm train` takes."
    ),
) -> int:
    """Show what of a file would be trained, token by token, and whether the masking holds.

    Trained text is green; where there are no colours it stands in ⟦ ⟧. Rows may be as long as the recipe and
    the model's context allow; those that are cut, left out or held out are counted. Leaves with 1 where
    training would refuse the file.

    Example: realm data tokens mine.jsonl --tokenizer ./base --rows 5
    """
    from realm.core.errors import UsageError
    from realm.flows.tokens import look, model_folder, rules_of

    options: Options = ctx.obj
    if tokenizer is not None and model is not None:
        raise UsageError("--tokenizer and --model exclude each other", hint="give one of them")
    folder = tokenizer
    if folder is None:
        with options.realm() as realm:
            folder = model_folder(realm.lab, model)
    report = look(file, folder, rows=rows, rules=rules_of(options.home, recipe, options.sets))
    if options.json:
        print_json(_document(report))
    else:
        _show(report)
    return 1 if report.refusal else 0


def _document(report: TokensReport) -> dict[str, object]:
    document: dict[str, object] = report.model_dump(mode="json", exclude={"shown"})
    document["shown"] = [
        {"line": row.line, "tokens": [[token.id, token.text, token.weight] for token in row.tokens]}
        for row in report.shown
    ]
    return document


def _show(report: TokensReport) -> None:
    colours = sys.stdout.isatty()
    print_line(f"by recipe {report.recipe}: rows of up to {_limit(report)}")
    for row in report.shown:
        print_line(f"row {row.line}")
        print_line(_marked(row, colours=colours))
    for problem in report.problems:
        print_line(f"{report.file}:{problem.line}: {problem.reason}")
        if problem.hint:
            print_line(f"  → {problem.hint}")
    if not report.problems:
        print_line(
            f"{report.rows} rows, {report.tokens} tokens, {report.trained_tokens} of them trained"
            + "".join(f"; {count} {reason}" for reason, count in report.dropped.items())
        )
    for line in report.checks:
        print_line(f"✓ {line}")
    if report.refusal:
        print_line(f"✗ {report.refusal}")
    if report.hint:
        print_line(f"  → {report.hint}")


def _limit(report: TokensReport) -> str:
    """Write how long rows may be, and by what."""
    unknown = " (the model's context is not known)" if report.context_tokens is None else ""
    what = "the model's context" if report.max_tokens == report.context_tokens else "rules.max_tokens"
    return f"{report.max_tokens} tokens, {what}{unknown}"


def _marked(row: RowTokens, *, colours: bool) -> str:
    """Write a row's text, trained parts in colour or in brackets, weights other than 1 behind them."""
    begin, end = (_TRAINED, _PLAIN) if colours else ("⟦", "⟧")
    pieces = []
    for weight, group in itertools.groupby(row.tokens, key=lambda token: token.weight):
        text = _shown("".join(token.text for token in group))
        pieces.append(text if not weight else f"{begin}{text}{end}" + ("" if weight == 1 else f"×{weight:g}"))
    return "".join(pieces)


def _shown(text: str) -> str:
    return "".join(c if c.isprintable() or c == "\n" else "·" for c in text)
