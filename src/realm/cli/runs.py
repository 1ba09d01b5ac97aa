"""`realm run`: list, show, watch, pause, resume, stop."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import typer

from realm.cli.groups import Commands, add_group
from realm.cli.options import Options
from realm.cli.output import ago, json_array, print_json, print_line, print_table
from realm.core.clock import utc_now

if TYPE_CHECKING:
    from collections.abc import Callable

    from realm.jobs.queue import Job
    from realm.lab import Realm

RUN = typer.Argument(None, help="The run's id; without one the run that is meant, if there is only one.")
WATCHED = typer.Argument(None, help="The run's id; without one the running run, else the newest.")
PROCESSES = typer.Option(None, min=1, help="Ranks to go on with, where the recipe's launcher is torchrun.")
PAUSE_WAIT_S = 90.0


def register(app: typer.Typer) -> None:
    """Add the commands."""
    looks: Commands = {"list": list_runs, "show": show, "watch": watch}
    steers: Commands = {"save": save, "pause": pause, "resume": resume, "stop": stop}
    add_group(app, "run", "Watch and steer training runs.", {**looks, **steers})


def list_runs(ctx: typer.Context, limit: int = typer.Option(20, help="How many, newest first.")) -> None:
    """List runs, newest first.

    Example: realm run list --limit 5
    """
    options: Options = ctx.obj
    with options.realm() as realm:
        states = {job.id: job.state.value for job in realm.jobs()}
        rows = [(run, run.outcome or states.get(run.id, "owed a job")) for run in realm.runs(limit)]
    if options.json:
        print_json([{**run.model_dump(mode="json"), "state": state} for run, state in rows])
        return
    now = utc_now()
    print_table(
        ["run", "state", "hero", "what", "steps", "started", "reason"],
        [
            (
                run.id,
                state,
                run.hero,
                run.title,
                f"{run.step}/{run.steps_total or '?'}",
                ago(run.started_at, now),
                run.reason,
            )
            for run, state in rows
        ],
        empty="No run yet. Drop a .jsonl file into the inbox, or start the lab with `realm up`.",
    )


def show(ctx: typer.Context, run: str = typer.Argument(help="The run's id.")) -> None:
    """Show everything the ledger knows of one run, and its checkpoints.

    Example: realm run show run-0003
    """
    from realm.core.events import RunStarted

    options: Options = ctx.obj
    with options.realm() as realm:
        record = realm.lab.ledger.runs.get(run)
        saved = [checkpoint for checkpoint in realm.checkpoints() if checkpoint.run == run]
        begun = (event for event in realm.watch(run, follow=False) if isinstance(event, RunStarted))
        started = next(begun, None)
    servable = started.servable if started else ()
    if options.json:
        checkpoints = [checkpoint.model_dump(mode="json") for checkpoint in saved]
        print_json({**record.model_dump(mode="json"), "servable": list(servable), "checkpoints": checkpoints})
        return
    for key, value in record.model_dump(mode="json").items():
        if key != "spec":
            print_line(f"{key:12} {value}")
    print_line(f"{'recipe':12} {record.spec['recipe_name']}")
    for name in ("overrides", "migrated"):
        for line in record.spec[name]:
            print_line(f"{name:12} {line}")
    for line in servable:
        print_line(f"{'servable':12} {line}")
    for checkpoint in saved:
        print_line(f"{'checkpoint':12} {checkpoint.name}  {checkpoint.hash[:19]}")


def watch(
    ctx: typer.Context,
    run: str | None = WATCHED,
    follow: bool = typer.Option(True, help="Go on until the run has ended."),
) -> None:
    """Watch a run live: loss, rate, ETA. Leave with Ctrl-C; the run goes on.

    Example: realm run watch
    """
    options: Options = ctx.obj
    with options.realm() as realm:
        if options.json:
            with json_array() as item:
                for event in realm.watch(run, follow=follow):
                    if event is not None:
                        item(event)
            return
        if sys.stdout.isatty() and follow:
            _watch_live(realm, run)
        else:
            _watch_plain(realm, run, follow)


def _watch_live(realm: Realm, run: str | None) -> None:
    from rich.live import Live

    from realm.cli.battle import Battle

    view = Battle(
        "Realm · watching",
        lambda skill, level: realm.skill(skill).level(level),
        realm.config.curriculum.evaluations,
    )
    with Live(get_renderable=view.render, refresh_per_second=4):
        for event in realm.watch(run):
            if event is not None:
                view.take(event)


def _watch_plain(realm: Realm, run: str | None, follow: bool) -> None:
    from realm.cli.battle import Pace, plain, progress
    from realm.core.events import (
        AnswersGraded,
        CheckpointStaged,
        Failed,
        MaskingProven,
        RunFinished,
        RunInterrupted,
        StepTaken,
    )

    pace = Pace()
    for event in realm.watch(run, follow=follow):
        if isinstance(event, StepTaken):
            print_line(progress(event, pace.left_s(event)))
        elif isinstance(event, MaskingProven):
            share = event.trained_tokens / event.tokens
            print_line(f"{event.run} {event.rows} rows, {event.tokens} tokens, {share:.0%} of them trained")
            if line := plain(event):
                print_line(line.plain)
        elif isinstance(event, CheckpointStaged):
            print_line(f"{event.run} checkpoint at step {event.step}")
        elif isinstance(event, AnswersGraded):
            print_line(f"{event.run} answered {event.done} of {event.total}")
        elif isinstance(event, RunInterrupted | RunFinished | Failed):
            print_line(f"{event.run} {event.kind.removeprefix('run_')} {getattr(event, 'what', '')}".rstrip())
        elif event is not None and (line := plain(event)) is not None:
            print_line(line.plain)


def save(ctx: typer.Context, run: str | None = RUN) -> None:
    """Save a checkpoint after the present step; the run goes on.

    Example: realm run save
    """
    options: Options = ctx.obj
    with options.realm() as realm:
        job = realm.save(run)
    if options.json:
        print_json(job)
    else:
        print_line(f"{job.id}: a checkpoint was asked for")


def pause(ctx: typer.Context, run: str | None = RUN) -> None:
    """Save within one step and free the device. `realm run resume` goes on exactly there.

    Where nobody works on the run, its last checkpoint is where it goes on.

    Example: realm run pause
    """
    options: Options = ctx.obj
    with options.realm() as realm:
        _ask(options, realm, realm.pause(run), "paused", lambda job: job.state.value != "running")


def resume(ctx: typer.Context, run: str | None = RUN, processes: int | None = PROCESSES) -> None:
    """Go on with a paused run where it was, or with one whose process was killed.

    On a CPU with as many ranks it ends with the same bytes as if it had not been paused.

    Example: realm run resume
    """
    options: Options = ctx.obj
    with options.realm() as realm:
        job = realm.resume(run, processes=processes)
    if options.json:
        print_json(job)
    else:
        print_line(f"{job.id}: {job.state.value}")


def stop(ctx: typer.Context, run: str | None = RUN) -> None:
    """End a run for good; it leaves a valid checkpoint of the step it is at.

    Where nobody works on the run, that is the one it saved last.

    Example: realm run stop run-0003
    """
    options: Options = ctx.obj
    with options.realm() as realm:
        _ask(options, realm, realm.stop(run), "stopped", lambda job: job.state.value != "running")


def _ask(options: Options, realm: Realm, job: Job, what: str, reached: Callable[[Job], bool]) -> None:
    from realm.flows.control import wait_for

    job = wait_for(realm.lab, job.id, reached, PAUSE_WAIT_S)
    if options.json:
        print_json(job)
    elif reached(job):
        print_line(f"{job.id}: {job.state.value} {job.reason}".rstrip())
    else:
        print_line(f"{job.id}: will be {what} as soon as the lab runs (`realm up`)")
