"""What the commands that let models answer have in common: which models, which size, how far they are."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

import typer

from realm.core.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from realm.jobs.queue import Job
    from realm.lab import Realm

MODEL = "HERO@STEP, HERO@latest, HERO@champion, HERO@best:METRIC, HERO@0, a registered version or a hash."
SIZE = typer.Option(
    None, "--size", help="lite (5 problems of each primitive) or full (30); else the suite's own."
)


def size_of(given: str | None) -> Literal["lite", "full"] | None:
    """Return the size that was named. Raises UsageError for another word."""
    from realm.core.errors import UsageError
    from realm.evaluation.task import PER_PRIMITIVE

    if given is not None and given not in PER_PRIMITIVE:
        raise UsageError(f"--size {given}: expected {' or '.join(PER_PRIMITIVE)}")
    return given


@contextmanager
def problem_bar(realm: Realm, job: Job, problems: int, name: str = "evaluation") -> Iterator[None]:
    """Show how many problems a job has had answered, the rate and the time left."""
    from realm.cli.bars import bar
    from realm.core.events import AnswersGraded, Event

    done: dict[tuple[str, str], int] = {}
    with bar("problems") as tell:

        def watch(event: Event) -> None:
            if isinstance(event, AnswersGraded) and event.run == job.id:
                done[event.checkpoint, event.suite] = event.done
                tell(name, sum(done.values()), problems, event.suite)

        _tell_what_comes_first(realm, job)
        realm.attach(watch)
        yield


@contextmanager
def row_bar(realm: Realm, job: Job) -> Iterator[None]:
    """Show how many rows of a dataset a job has measured, the rate and the time left."""
    from realm.cli.bars import bar
    from realm.core.events import Event, RowsMeasured

    with bar("rows") as tell:

        def watch(event: Event) -> None:
            if isinstance(event, RowsMeasured) and event.run == job.id:
                tell("mining", event.done, event.total)

        _tell_what_comes_first(realm, job)
        realm.attach(watch)
        yield


def _tell_what_comes_first(realm: Realm, job: Job) -> None:
    """Name the jobs before this one: a command that works the queue seems to stand still meanwhile."""
    from realm.flows.carrying import before

    for other in before(realm.lab, job):
        sys.stderr.write(f"first comes {other.id}: {printable(other.title)}\n")
