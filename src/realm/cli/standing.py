"""`realm eval rank` and `realm eval transfer`: where checkpoints stand, and what training brought."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from realm.cli.asked import MODEL, SIZE, problem_bar, size_of
from realm.cli.options import Options
from realm.cli.output import print_json, print_line, print_table
from realm.core.text import printable

if TYPE_CHECKING:
    from realm.evaluation.ranking import Ranking, Standing
    from realm.flows.transfer import Transferred


def rank(
    ctx: typer.Context,
    suite: str | None = typer.Option(
        None, "--suite", help="Go by this suite; else by the parts over which the most can be compared."
    ),
    size: str | None = SIZE,
) -> None:
    """Rank the hero's checkpoints by what they answered alike, and say who fell behind the best.

    Nothing is asked. The newest checkpoint that was evaluated is held against all that answered the same
    problems under the same conditions; the exit code is 1 where going back is suggested.

    Example: realm eval rank --suite lite
    """
    from realm.flows import suites as flow
    from realm.flows.regression import ranking

    options: Options = ctx.obj
    with options.realm() as realm:
        parts = None
        if suite is not None:
            asked = flow.ask(realm.lab, f"{realm.lab.hero_name}@latest", suite, size=size_of(size))
            parts = [part.id for part in asked.parts]
        found = ranking(realm.lab, parts)
    if options.json:
        print_json(found)
    else:
        _print_ranking(found)
    if found.rollback is not None:
        raise typer.Exit(1)


def _print_ranking(found: Ranking) -> None:
    print_line(f"{found.problems} problems of {', '.join(found.parts)}")
    print_table(
        ["checkpoint", "step", "score", "95 % interval", "drop", "p", ""],
        [
            (
                standing.name,
                standing.hero_step,
                f"{standing.score:.3f}",
                f"{standing.right.low:.3f} – {standing.right.high:.3f}",
                f"{standing.drop:.3f}",
                f"{standing.chance:.3g}",
                _flag(standing),
            )
            for standing in found.ranked
        ],
        empty="",
    )
    for left in found.left_out:
        print_line(f"left out    {left.name}: {printable(left.reason, 200)}")
    if found.rollback is not None:
        print_line(f"go back to  {found.rollback.name}: {'; '.join(found.rollback.reasons)}")


def _flag(standing: Standing) -> str:
    word = standing.alarm if standing.alarm != "ok" else "significant" if standing.significant else ""
    return f"{word} ({', '.join(standing.fallen)})" if standing.fallen else word


def transfer(
    ctx: typer.Context,
    base: str | None = typer.Argument(None, help=f"{MODEL} Without one HERO@0."),
    trained: str | None = typer.Argument(None, help="What became of it; without one HERO@latest."),
    suite: list[str] = typer.Option(
        ["lite", "passives"], "--suite", help="What to compare on; may be given several times."
    ),
    size: str | None = SIZE,
) -> None:
    """Report what training brought: in what was drilled, and in what was not.

    Differences are over the same problems, with 95 % intervals; labels are corrected for all rows. What
    either has not answered is asked first, as by `realm eval run`.

    Example: realm eval transfer dio@0 dio@latest --suite passives
    """
    from realm.flows import suites as flow
    from realm.flows.transfer import transferred

    options: Options = ctx.obj
    with options.realm() as realm:
        hero = realm.lab.hero_name
        models = (base or f"{hero}@0", trained or f"{hero}@latest")
        asked = []
        for name in dict.fromkeys(suite):
            one, other = (flow.ask(realm.lab, model, name, size=size_of(size)) for model in models)
            asked.append((one, other))
        for each in (each for pair in asked for each in pair):
            job = flow.begin(realm.lab, each)
            if job is not None:
                with problem_bar(realm, job, sum(len(part.problems) for part in each.parts)):
                    flow.finish(realm.lab, job)
        found = transferred(realm.lab, asked)
    if options.json:
        print_json(found)
    else:
        _print_transferred(found)


def _print_transferred(found: Transferred) -> None:
    print_line(f"{', '.join(found.suites)}: {found.base} → {found.trained}")
    print_table(
        ["", "name", "drilled", "problems", "before", "after", "difference", "95 % interval", "p", "verdict"],
        [
            (
                row.kind,
                row.difference.name,
                "yes" if row.trained else "no",
                row.difference.problems,
                f"{row.difference.before:.3f}",
                f"{row.difference.after:.3f}",
                f"{row.difference.difference:+.3f}",
                f"{row.difference.low:+.3f} – {row.difference.high:+.3f}",
                f"{row.chance:.3g}",
                row.label,
            )
            for row in found.report.rows
        ],
        empty="Nothing was asked.",
    )
    transferred, forgotten = found.report.transferred(), found.report.forgotten()
    print_line(f"transferred {', '.join(row.difference.name for row in transferred) or 'nothing shown'}")
    print_line(f"lost        {', '.join(row.difference.name for row in forgotten) or 'nothing shown'}")
    for label in found.labels:
        print_line(f"differs     {printable(label, 200)}")
