"""`realm skill spar`: the hero's mistakes, made into rows to train on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from realm.cli.asked import problem_bar
from realm.cli.options import Options
from realm.cli.output import print_json, print_line
from realm.cli.play import show_events
from realm.cli.waiting import left_to

if TYPE_CHECKING:
    from collections.abc import Sequence

    from realm.core.events import Sparred
    from realm.jobs.queue import Job


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
    lab is up it does the work. While another command holds the realm, such as a trial, the job waits.

    Example: realm skill spar bin --problems 400 --targeted
    """
    from realm.flows.carrying import ENDED, carried_out
    from realm.flows.sparring import queue_sparring, runs_of, to_be_asked, told_of

    options: Options = ctx.obj
    with options.realm() as realm:
        lab = realm.lab
        job = queue_sparring(lab, name, problems=problems, targeted=targeted)
        with problem_bar(realm, job, to_be_asked(lab, job), "sparring"):
            job = carried_out(lab, job, follow=False)
        told, runs = told_of(lab, job), runs_of(lab, job)
        if train and runs:
            with show_events(realm, options, told={run.id for run in runs}) as watching:
                runs = [carried_out(lab, run, follow=False) for run in runs]
                watching.close()
    if options.json:
        print_json({"job": job, "runs": runs, "sparred": told})
    else:
        _print_sparred(job, told, runs)
        if any(each.state not in ENDED for each in (job, *(runs if train else ()))):
            print_line(left_to(lab))
        elif runs and not train:
            print_line("it is trained when the lab is up, or now with --train")
    if any(each.state.value == "failed" for each in (job, *runs)):
        raise typer.Exit(1)


def _print_sparred(job: Job, told: Sequence[Sparred], runs: Sequence[Job]) -> None:
    print_line(f"{job.id}: {job.state.value} {job.reason}".rstrip())
    for sparred in told:
        for primitive, right, asked in sparred.weakest:
            print_line(f"  {primitive:28} {right:>5} of {asked:>5} right")
    for run in runs:
        print_line(f"{run.id}: {run.title} · {run.state.value} {run.reason}".rstrip())
