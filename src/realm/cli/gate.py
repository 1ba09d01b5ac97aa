"""`realm gate`: ask the gate about a model, or look up what it decided."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from realm.cli.asked import MODEL, problem_bar
from realm.cli.options import Options
from realm.cli.output import print_json, print_line, print_table
from realm.core.text import printable

if TYPE_CHECKING:
    from realm.evaluation.gate import Check
    from realm.flows.judging import Judged


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("gate")(gate)


def gate(
    ctx: typer.Context,
    model: str = typer.Argument(help=MODEL),
    stored: bool = typer.Option(
        False, "--stored", help="Show what the gate decided about a registered model; ask nothing."
    ),
) -> None:
    """Ask the gate whether a model could replace the champion now. Nothing is registered or promoted.

    Both answer what they have not of every mastered level: in the lab that is up, else in this command.
    Prints every check with its figures; the exit code is 1 where the model is refused.

    Example: realm gate dio@latest
    """
    from realm.flows.judging import Case, stored_decision
    from realm.flows.suites import finish

    options: Options = ctx.obj
    with options.realm() as realm:
        if stored:
            found = stored_decision(realm.lab, model)
        else:
            case = Case(realm.lab, model)
            job = case.begin()
            if job is not None:
                with problem_bar(realm, job, case.missing):
                    finish(realm.lab, job)
            found = case.judged()
    if options.json:
        print_json(found)
    else:
        _print_judged(found)
    if not found.decision.passed:
        raise typer.Exit(1)


def _print_judged(found: Judged) -> None:
    against = f"against {found.champion}" if found.champion else "without a champion"
    when = f", decided {found.at:%Y-%m-%d %H:%M} UTC" if found.at else ""
    print_line(f"{found.model}  {found.checkpoint[:19]}  {against}{when}")
    print_table(
        ["", "check", "figures"],
        [(_mark(check), check.name, printable(check.text, 400)) for check in found.decision.checks],
        empty="Nothing was asked.",
    )
    verdict = "passed" if found.decision.passed else "refused"
    print_line(f"{verdict}: {found.decision.correct:g} of {found.decision.total} right")
    for reason in found.decision.reasons if not found.decision.passed else ():
        print_line(f"  {printable(reason, 400)}")


def _mark(check: Check) -> str:
    if check.skipped:
        return "skipped"
    return "passed" if check.passed else "refused"
