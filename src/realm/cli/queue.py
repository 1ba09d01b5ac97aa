"""`realm queue`: what is waiting, and in which order."""

from __future__ import annotations

import typer

from realm.cli.groups import Commands, add_group
from realm.cli.options import Options
from realm.cli.output import ago, print_json, print_line, print_table
from realm.core.clock import utc_now

EMPTY = "The queue is empty. Drop a .jsonl file into the inbox, or let `realm up` generate drills."


def register(app: typer.Typer) -> None:
    """Add the commands."""
    commands: Commands = {"list": list_jobs, "add": add, "move": move, "retry": retry, "drop": drop}
    add_group(app, "queue", "See and change the queue.", commands)


def list_jobs(
    ctx: typer.Context,
    all_jobs: bool = typer.Option(False, "--all", help="Show every ended job too, not only the last ten."),
) -> None:
    """List jobs: running, then queued in the order they will run, then the ended ones.

    Example: realm queue list --all
    """
    options: Options = ctx.obj
    with options.realm() as realm:
        jobs = realm.jobs()
    if options.json:
        print_json(jobs)
        return
    live = [job for job in jobs if job.ended_at is None]
    ended = [job for job in jobs if job.ended_at is not None]
    now = utc_now()
    print_table(
        ["job", "state", "priority", "what", "tries", "age", "reason"],
        [
            (
                job.id,
                job.state.value,
                job.priority.value,
                job.title,
                job.attempt,
                ago(job.created_at, now),
                job.reason,
            )
            for job in live + (ended if all_jobs else ended[:10])
        ],
        empty=EMPTY,
    )


def add(ctx: typer.Context, path: str = typer.Argument(help="A .jsonl file.")) -> None:
    """Validate a file, register it as a dataset and queue a run on it. The file stays where it is.

    Example: realm queue add mine.jsonl
    """
    options: Options = ctx.obj
    with options.realm() as realm:
        _report(options, realm.add(path), "queued")


def move(
    ctx: typer.Context,
    job: str = typer.Argument(help="The job's id."),
    priority: str = typer.Argument(help="high, normal or low."),
) -> None:
    """Give a queued job another priority.

    Example: realm queue move run-0003 high
    """
    from realm.core.errors import UsageError
    from realm.core.records import Priority

    if priority not in {p.value for p in Priority}:
        raise UsageError(f"{priority!r} is no priority", hint="one of: high, normal, low")
    options: Options = ctx.obj
    with options.realm() as realm:
        _report(options, realm.move(job, Priority(priority)), f"is now {priority}")


def retry(
    ctx: typer.Context,
    job: str = typer.Argument(help="A failed or dropped job, or one whose process was killed."),
    processes: int | None = typer.Option(
        None, min=1, help="Ranks to go on with, where the recipe's launcher is torchrun."
    ),
) -> None:
    """Queue a failed or dropped job again; it goes on from its run's last checkpoint.

    So does a job that is called running though its process was killed.

    Example: realm queue retry run-0003
    """
    options: Options = ctx.obj
    with options.realm() as realm:
        _report(options, realm.retry(job, processes=processes), "queued again")


def drop(ctx: typer.Context, job: str = typer.Argument(help="A queued, paused or failed job.")) -> None:
    """Take a job out of the queue for good. What its run saved stays.

    Example: realm queue drop run-0003
    """
    options: Options = ctx.obj
    with options.realm() as realm:
        _report(options, realm.drop(job), "dropped")


def _report(options: Options, job: object, what: str) -> None:
    if options.json:
        print_json(job)
    else:
        print_line(f"{getattr(job, 'id', job)}: {what}")
