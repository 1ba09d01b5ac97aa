"""`realm data scrub` and `realm data review`: secrets looked for, and doubts decided."""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from realm.cli.options import Options
from realm.cli.output import print_json, print_line, print_table

if TYPE_CHECKING:
    from realm.corpus.scrub import Scrubber
    from realm.corpus.scrubbing.decisions import Decision
    from realm.corpus.scrubbing.review import Quarantine, Question
    from realm.corpus.scrubbing.scan import RowFinding

_SHOWN = 200


def scrub(
    ctx: typer.Context,
    file: Path = typer.Argument(help="A .jsonl file, plain or .gz, or any text file."),
    out: Path | None = typer.Option(None, help="Write the clean and the replaced rows here."),
    score: bool = typer.Option(False, help="FILE has labelled rows: say how well the scrubber does on them."),
    quarantine: Path | None = typer.Option(
        None, help="A folder that keeps the rows in doubt for `realm data review`."
    ),
) -> None:
    """Look for secrets and personal data in a file. Shows what and where, never the values. Needs no realm.

    Example: realm data scrub chats.jsonl --out clean.jsonl
    """
    from realm.core.errors import UsageError

    options: Options = ctx.obj
    if score:
        if out is not None or quarantine is not None:
            raise UsageError("--score writes nothing", hint="leave out --out and --quarantine")
        _score(file, options)
        return
    if out is not None and out.absolute() == file.absolute():
        raise UsageError("--out names the file itself", hint="write to another file")
    if options.json:
        _scan_as_json(file, out, quarantine)
    else:
        _scan_as_table(file, out, quarantine)


def _score(file: Path, options: Options) -> None:
    from realm.corpus.scrub import Scrubber
    from realm.corpus.scrubbing.score import score

    result = score(file, Scrubber())
    if options.json:
        print_json(result)
        return
    for name, value in result:
        print_line(f"{name:20} {'-' if value is None else value}")


def _scan_as_json(file: Path, out: Path | None, quarantine: Path | None) -> None:
    """Write one document, findings first, as they come: a file may have more than memory holds."""
    from realm.corpus.scrub import Scrubber
    from realm.corpus.scrubbing.review import Quarantine
    from realm.corpus.scrubbing.scan import scan

    written = 0

    def told(finding: RowFinding) -> None:
        nonlocal written
        lead = ",\n  " if written else '{"findings": [\n  '
        sys.stdout.write(lead + json.dumps(finding.model_dump(), ensure_ascii=False))
        written += 1

    held = Quarantine(quarantine) if quarantine else None
    totals = scan(file, Scrubber(_config(held)), told, out=out, quarantine=held)
    sys.stdout.write("],\n" if written else '{"findings": [],\n')
    sys.stdout.write(json.dumps(totals.model_dump())[1:] + "\n")


def _config(held: Quarantine | None) -> Scrubber.Config:
    from realm.corpus.scrub import Scrubber

    return Scrubber.Config(decisions=held.decisions.path if held else None)


def _scan_as_table(file: Path, out: Path | None, quarantine: Path | None) -> None:
    from realm.corpus.scrub import Scrubber
    from realm.corpus.scrubbing.review import Quarantine
    from realm.corpus.scrubbing.scan import scan

    shown: list[tuple[object, ...]] = []
    kinds: Counter[str] = Counter()
    held = Quarantine(quarantine) if quarantine else None
    scrubber = Scrubber(_config(held))

    def told(finding: RowFinding) -> None:
        kinds[finding.kind] += 1
        if len(shown) < _SHOWN:
            place = f"{finding.start}-{finding.end}"
            what = "replaced" if finding.confidence >= scrubber.config.high else "in doubt"
            shown.append((finding.row, finding.field, finding.kind, place, f"{finding.confidence:.2f}", what))

    totals = scan(file, scrubber, told, out=out, quarantine=held)
    print_table(("row", "field", "kind", "characters", "sure", ""), shown, empty="nothing found")
    if kinds.total() > len(shown):
        print_line(f"… and {kinds.total() - len(shown)} more; --json has all of them")
    for kind, count in kinds.most_common():
        print_line(f"{count:8} {kind}")
    print_line(
        f"{totals.rows} rows: {totals.clean} clean, {totals.replaced} replaced, {totals.quarantined} in doubt"
    )
    if totals.quarantined:
        print_line(
            f"decide with `realm data review {quarantine}`" if quarantine else "rows in doubt were left out"
        )


def review(
    ctx: typer.Context,
    folder: Path | None = typer.Argument(None, help="A quarantine folder; by default that of the realm."),
    list_only: bool = typer.Option(False, "--list", help="Only say what waits, without the values."),
) -> None:
    """Decide about rows in doubt, by one key each.

    Shows the values: look over your shoulder first. Decisions are remembered and become rules.

    Example: realm data review
    """
    from realm.corpus.scrubbing.review import Quarantine
    from realm.flows.home import find_home

    options: Options = ctx.obj
    quarantine = Quarantine(folder or find_home(options.home).vault / "quarantine" / "rows")
    waiting = quarantine.waiting()
    if list_only or options.json:
        _list(quarantine, waiting, as_json=options.json)
        return
    if not waiting:
        print_line("nothing waits")
    for row in waiting:
        if not _review_row(quarantine, row):
            break


def _list(quarantine: Quarantine, waiting: list[str], *, as_json: bool) -> None:
    rows = [(row, quarantine.held(row)) for row in waiting]
    if as_json:
        print_json([{"row": row, "where": held.where, "findings": held.findings} for row, held in rows])
        return
    body = [(row, held.where, ", ".join(sorted({one.kind for one in held.findings}))) for row, held in rows]
    print_table(("row", "where", "kinds"), body, empty="nothing waits")


def _review_row(quarantine: Quarantine, row: str) -> bool:
    """Ask about every value in doubt; False when the person has enough."""
    from realm.corpus.scrub import Scrubber
    from realm.corpus.scrubbing.decisions import Decision

    answers = {"s": Decision.SECRET, "n": Decision.NOT_SECRET}
    decided: dict[str, Decision] = {}
    for question in quarantine.questions(row, Scrubber.Config().high):
        key = _ask(question)
        if key == "q":
            quarantine.decide(decided)
            return False
        if key == "d":
            quarantine.drop(row)
            return True
        if key in answers:
            decided[question.value] = answers[key]
    quarantine.decide(decided)
    return True


def _ask(question: Question) -> str:
    from realm.core.text import printable

    print_line(f"\n{question.where}: {question.kind} ({question.confidence:.2f})")
    print_line(
        f"  {printable(question.before)}\x1b[7m{printable(question.value)}\x1b[0m{printable(question.after)}"
    )
    print_line("  [s]ecret  [n]ot a secret  [d]rop the row  [k]eep waiting  [q]uit")
    while True:
        key = typer.getchar().lower()
        if key in ("s", "n", "d", "k", "q"):
            return key
        if key in ("\x03", "\x04", ""):
            return "q"
