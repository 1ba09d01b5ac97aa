"""`realm skill spar`: the hero's mistakes, made into rows to train on."""

from __future__ import annotations

import typer

from realm.cli.options import Options
from realm.cli.output import print_json, print_line


def spar(
    ctx: typer.Context,
    name: str | None = typer.Argument(None, help="A skill of the hero; without one all of them."),
    problems: int | None = typer.Option(
        None, min=1, max=100_000, help="Problems asked of each skill; else sparring.problems."
    ),
    targeted: bool | None = typer.Option(
        None, "--targeted/--untargeted", help="Ask only weak primitives; else sparring.targeted."
    ),
    train: bool = typer.Option(False, "--train", help="Train on the rows at once, where the lab is not up."),
) -> None:
    """Let the newest checkpoint answer training problems, and queue a run on what it got wrong.

    Each wrong answer gives three rows: judged, put right, and a right answer to a fresh problem confirmed.
    The run has high priority; it is dropped when a newer checkpoint is saved before it begins. Where the
    lab is up it does the work.

    Example: realm skill spar bin --problems 400 --targeted
    """
    from realm.flows.sparring import queue_sparring, runs_of, told_of
    from realm.flows.train import carry_out
    from realm.storage.lock import holder

    options: Options = ctx.obj
    with options.realm() as realm:
        lab = realm.lab
        job = queue_sparring(lab, name, problems=problems, targeted=targeted)
        here = holder(realm.home.root) is None
        if here:
            job = carry_out(lab, job.id)
        told, runs = told_of(lab, job), runs_of(lab, job)
        if train and here:
            runs = [carry_out(lab, run.id) for run in runs]
        if options.json:
            print_json({"job": job, "runs": runs, "sparred": told})
            return
        print_line(f"{job.id}: {job.state.value} {job.reason}".rstrip())
        for sparred in told:
            for primitive, right, asked in sparred.weakest:
                print_line(f"  {primitive:28} {right:>5} of {asked:>5} right")
        for run in runs:
            print_line(f"{run.id}: {run.title} · {run.state.value}")
        if not here:
            print_line("the lab is up and does it; `realm queue list` shows how far it is")
        elif runs and not train:
            print_line("it is trained when the lab is up, or now with --train")
