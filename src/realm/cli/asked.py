"""What the commands that let models answer have in common: which models, which size, how far they are."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

import typer

if TYPE_CHECKING:
    from collections.abc import Iterator

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
def problem_bar(realm: Realm, problems: int) -> Iterator[None]:
    """Show how many problems are answered, the rate and the time left."""
    from realm.cli.bars import bar
    from realm.core.events import AnswersGraded, Event

    done: dict[tuple[str, str], int] = {}
    with bar("problems") as tell:

        def watch(event: Event) -> None:
            if isinstance(event, AnswersGraded):
                done[event.checkpoint, event.suite] = event.done
                tell("evaluation", sum(done.values()), problems, event.suite)

        realm.attach(watch)
        yield
