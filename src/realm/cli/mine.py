"""`realm data mine`: the rows of a dataset that a model finds hard."""

from __future__ import annotations

import shlex

import typer

from realm.cli.asked import row_bar
from realm.cli.options import Options
from realm.cli.output import print_json, print_line
from realm.cli.waiting import left_to


def mine(
    ctx: typer.Context,
    dataset: str = typer.Argument(help="A dataset's name or hash."),
    model: str | None = typer.Option(None, help="Which model finds them hard; without it HERO@latest."),
    share: float = typer.Option(0.2, min=0.001, max=1.0, help="Share of the rows to take, hardest first."),
    noise: float = typer.Option(
        0.02, min=0.0, max=0.99, help="Share of the very hardest rows to leave out: likely wrong, not hard."
    ),
) -> None:
    """Make a dataset of the rows whose right answers a model finds least probable.

    It is called as the dataset with -hard behind, and is trained like any other. Where the lab is up it does
    the work. While another command holds the realm, such as a trial, the job waits.

    Example: realm data mine chats.jsonl --share 0.1
    """
    from realm.evaluation.mining import MiningConfig
    from realm.flows.carrying import ENDED, carried_out
    from realm.flows.mining import mined, queue_mining

    options: Options = ctx.obj
    with options.realm() as realm:
        config = MiningConfig(share=share, noise_share=noise)
        job = queue_mining(realm.lab, dataset, model, config)
        with row_bar(realm, job):
            job = carried_out(realm.lab, job, follow=False)
        found = mined(realm.lab, job)
    if options.json:
        print_json({"job": job, "dataset": found})
    else:
        print_line(f"{job.id}: {job.state.value} {job.reason}".rstrip())
        if job.state not in ENDED:
            print_line(left_to(realm.lab))
        if found is not None:
            print_line(f"train on it: realm train {shlex.quote(found.name)}")
    if job.state.value == "failed":
        raise typer.Exit(1)
