"""How far a long command is, on standard error: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, Protocol

from realm.core.text import printable

Unit = Literal["bytes", "rows", "documents", "problems"]

_LINE_EVERY_S = 10.0
_SETTLED_S = 1.0
"""Before that a rate says nothing."""


class Tell(Protocol):
    """Takes word of progress; another `name` begins another stretch, with a rate of its own."""

    def __call__(self, name: str, done: int, total: int, note: str = "") -> None: ...


@contextmanager
def bar(unit: Unit) -> Iterator[Tell]:
    """Show name, note, how much is done, the rate and the time left."""
    if sys.stderr.isatty():
        with _drawn(unit) as tell:
            yield tell
    else:
        yield _Lines(unit)


@contextmanager
def _drawn(unit: Unit) -> Iterator[Tell]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TextColumn("{task.fields[told]}"))
    with Progress(*columns, console=Console(stderr=True), transient=True) as shown:
        task = shown.add_task("", total=None, told="")
        stretch = _Stretch(unit)

        def tell(name: str, done: int, total: int, note: str = "") -> None:
            told = stretch.told(name, done, total)
            about = f"{printable(name, 40)}  {note}".rstrip()
            shown.update(task, description=about, completed=done, total=total or None, told=told)

        yield tell


class _Lines:
    """A line every ten seconds."""

    def __init__(self, unit: Unit) -> None:
        self._stretch = _Stretch(unit)
        self._due = time.monotonic() + _LINE_EVERY_S

    def __call__(self, name: str, done: int, total: int, note: str = "") -> None:
        told = self._stretch.told(name, done, total)
        if time.monotonic() >= self._due:
            self._due = time.monotonic() + _LINE_EVERY_S
            about = f"{printable(name, 40)}  {note}".rstrip()
            sys.stderr.write(f"{about}  {told}\n")
            sys.stderr.flush()


class _Stretch:
    """What one name has done since it began."""

    def __init__(self, unit: Unit) -> None:
        self._unit = unit
        self._name: str | None = None

    def told(self, name: str, done: int, total: int) -> str:
        """Return how much of how much, the rate and the time left."""
        now = time.monotonic()
        if name != self._name:
            self._name, self._began, self._first = name, now, done
        if not total:
            return ""
        so_far = self._amount(done).removesuffix(f" {self._unit}")
        parts = [f"{so_far} of {self._amount(total)}"]
        seconds, moved = now - self._began, done - self._first
        if seconds >= _SETTLED_S and moved > 0:
            rate = moved / seconds
            parts.append(f"{self._amount(rate)}/s")
            parts.append(f"{_clock((total - done) / rate)} left")
        return "  ".join(parts)

    def _amount(self, count: float) -> str:
        return f"{count / 1e6:,.1f} MB" if self._unit == "bytes" else f"{count:,.0f} {self._unit}"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(max(0, round(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"
