"""`realm data scrub` and `realm data review`: secrets looked for, and doubts decided."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from realm.cli.options import Options
from realm.cli.output import json_array, print_json, print_line, print_table

if TYPE_CHECKING:
    from realm.corpus.scrub import Scrubber
    from realm.corpus.scrubbing.decisions import Decision
    from realm.corpus.scrubbing.review import Quarantine, Question
    from realm.corpus.scrubbing.scan import RowFinding
    from realm.flows.review import Review, Reviewed

_SHOWN = 200
_SAMPLE_SHOWN = 4000


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
    decide: list[str] = typer.Option(
        [], metavar="ROW=ANSWER", help="Decide about a row: secret, not_secret or drop. May be repeated."
    ),
    sample: bool = typer.Option(False, "--sample", help="Show documents that passed, kept for inspection."),
) -> None:
    """Decide about what is in doubt, by one key each.

    Shows the values: look over your shoulder first. Decisions are remembered and become rules; documents that
    are in doubt no more go into their source's collections.

    Example: realm data review
    """
    options: Options = ctx.obj
    answers = _answers(decide)
    if sample:
        _show_sample(options)
        return
    with _reviewing(options, folder) as reviewing:
        if answers:
            _print_reviewed(_answered(reviewing, answers), options)
        elif list_only or options.json:
            _list(reviewing, as_json=options.json)
        else:
            _review(reviewing, options)


@contextmanager
def _reviewing(options: Options, folder: Path | None) -> Iterator[Review]:
    from realm.flows.review import Review

    if folder is not None:
        yield Review(None, folder)
        return
    with options.realm() as realm:
        yield realm.review()


def _answers(words: list[str]) -> dict[str, Decision]:
    from realm.core.errors import UsageError
    from realm.corpus.scrubbing.decisions import Decision

    known = {
        "secret": Decision.SECRET, "not_secret": Decision.NOT_SECRET, "drop": Decision.DROP_ROW
    }  # fmt: skip
    answers = {}
    for word in words:
        row, _, said = word.partition("=")
        if said not in known:
            raise UsageError("--decide: no answer", hint=f"write ROW=ANSWER, one of: {', '.join(known)}")
        answers[row] = known[said]
    return answers


def _answered(reviewing: Review, answers: dict[str, Decision]) -> Reviewed:
    from realm.flows.review import answer

    return answer(reviewing, answers)


def _show_sample(options: Options) -> None:
    from realm.core.text import printable

    with options.realm() as realm:
        if options.json:
            with json_array() as item:
                for each in realm.samples():
                    item(each)
            return
        shown = 0
        for each in realm.samples():
            print_line(f"{each.source} {each.row[:12]}#{each.row.rpartition('#')[2]}")
            print_line(f"  {printable(json.dumps(each.value, ensure_ascii=False), _SAMPLE_SHOWN)}")
            shown += 1
    if not shown:
        print_line("no document was drawn yet; the share is the setting corpus.scrub.audit")


def _list(reviewing: Review, *, as_json: bool) -> None:
    if as_json:
        print_json(reviewing.waiting())
        return
    body = (
        (each.row, each.where, ", ".join(sorted({one.kind for one in each.findings})))
        for each in reviewing.waiting()
    )
    print_table(("row", "where", "kinds"), body, empty="nothing waits")


def _review(reviewing: Review, options: Options) -> None:
    """Ask about every value in doubt, row by row, until all are asked or the person has enough."""
    begun = reviewing.end()  # what an interrupted review or another person's answers left to do
    rows = reviewing.rows()
    unanswerable = () if begun.held_up else {row for row in rows if not reviewing.questions(row)}
    for number, row in enumerate(rows):
        print_line(f"{len(rows) - number} wait, {number} done")
        asked = _ask_about_rest(reviewing, row) if row in unanswerable else _ask_about(reviewing, row)
        if not asked:
            break
    ended = reviewing.end()
    _print_reviewed(ended.model_copy(update={"released": begun.released + ended.released}), options)


def _ask_about(reviewing: Review, row: str) -> bool:
    """Ask about every value in doubt; False when the person has enough."""
    from realm.corpus.scrubbing.decisions import Decision

    answers = {"s": Decision.SECRET, "n": Decision.NOT_SECRET}
    for question in reviewing.questions(row):
        key = _ask(question)
        if key == "q":
            return False
        if key == "d":
            reviewing.drop(row)
            return True
        if key in answers:
            reviewing.decide({question.value: answers[key]})
    return True


def _ask_about_rest(reviewing: Review, row: str) -> bool:
    print_line(f"\n{reviewing.quarantine.held(row).where}: in doubt although every value is decided")
    print_line("  [d]rop the row  [k]eep waiting  [q]uit")
    key = _key("dkq")
    if key == "d":
        reviewing.drop(row)
    return key != "q"


def _ask(question: Question) -> str:
    from realm.core.text import printable

    print_line(f"\n{question.where}: {question.kind} ({question.confidence:.2f})")
    print_line(
        f"  {printable(question.before)}\x1b[7m{printable(question.value)}\x1b[0m{printable(question.after)}"
    )
    print_line("  [s]ecret  [n]ot a secret  [d]rop the row  [k]eep waiting  [q]uit")
    return _key("sndkq")


def _key(known: str) -> str:
    while True:
        key = typer.getchar().lower()
        if key in ("\x03", "\x04", ""):
            return "q"
        if key in known:
            return key


def _print_reviewed(reviewed: Reviewed, options: Options) -> None:
    if options.json:
        print_json(reviewed)
        return
    for each in reviewed.released:
        print_line(f"{each.source}: {each.documents} documents released into {each.collection[7:19]}")
    for each_held_up in reviewed.held_up:
        print_line(f"{each_held_up}; what was decided stays, review again later")
    if reviewed.dropped:
        print_line(f"{reviewed.dropped} dropped")
    print_line(f"{reviewed.waiting} wait" if reviewed.waiting else "nothing waits")
