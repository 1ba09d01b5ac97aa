"""Collect all sources that the lab knows, once or for as long as it is up."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Collection, Iterable
from pathlib import Path

from realm.core.errors import HeldError, RealmError, RefusedError
from realm.corpus.files.watch import Watch
from realm.corpus.scrub import Scrubber
from realm.corpus.source import SOURCES, Source, SourceConfig
from realm.flows.collect import Collected, CollectProgress, Progress, add_source
from realm.flows.context import Lab
from realm.flows.handed import hand_in_closed
from realm.flows.sources import OnError, collect_source, register, scrubber_of
from realm.ledger.records import SourceRecord

LIVE_BYTES_PER_S = 20_000
"""A live session is collected anew as a whole: it is let rest so long that no more is read on average."""
_REST_S = 2.0
_BUSY_S = 5.0
_PAUSE_S = 5.0
_LONGEST_PAUSE_S = 600.0
"""Pauses after a failure double from the one to the other."""


def collect_known(lab: Lab, progress: Progress, on_error: OnError | None = None) -> list[Collected]:
    """Collect what is new in the sources of `realm.yaml` and in those that were added before.

    One that fails does not keep the others from it. `on_error` is told of it; without, an error is raised
    when the others are done.
    """
    failed: dict[str, RealmError] = {}

    def note(source: str, error: RealmError) -> None:
        failed[source] = error
        if on_error is not None:
            on_error(source, error)

    names = [record.name for record in register(lab, note)]
    found = _collect_each(lab, names, progress, note)
    if failed and on_error is None:
        raise _summed_up(failed, len({*names, *failed}))
    return found


def collect_from(lab: Lab, configs: Iterable[SourceConfig], progress: Progress) -> list[Collected]:
    """Note sources and collect what is new in each. Raises what the first that fails raises."""

    def end(source: str, error: RealmError) -> None:
        raise error

    names = [add_source(lab, config).name for config in configs]
    return _collect_each(lab, names, progress, end)


def _collect_each(lab: Lab, names: Collection[str], progress: Progress, on_error: OnError) -> list[Collected]:
    if not names:
        return []
    scrubber, found = scrubber_of(lab), []
    for name in names:
        try:
            found.append(collect_source(lab, name, scrubber, progress))
        except RealmError as error:
            on_error(name, error)
    try:
        closed = hand_in_closed(lab, names, scrubber, progress)
    except RealmError as error:
        on_error("sessions of closed work items", error)
        return found
    return found + [each for each in closed if each.new]


def _summed_up(failed: dict[str, RealmError], known: int) -> RealmError:
    if len(failed) == 1:
        return next(iter(failed.values()))
    return RefusedError(
        f"{len(failed)} of {known} sources could not be collected: {', '.join(failed)}",
        hint="; ".join(error.what for error in failed.values()),
    )


def start_watching_sources(lab: Lab, stop: Callable[[], bool], on_error: OnError) -> threading.Thread:
    """Watch the lab's sources in a thread of its own, and collect what is new."""
    watcher = _Watcher(lab, stop, on_error)
    thread = threading.Thread(target=watcher.run, name="sources", daemon=True)
    thread.start()
    return thread


class _Ended(Exception):
    """Ends a collection; its shard is read again by the next."""


class _Watcher:
    """Collects from watched sources until it is told to stop."""

    def __init__(self, lab: Lab, stop: Callable[[], bool], on_error: OnError) -> None:
        self._lab, self._stop, self._on_error = lab, stop, on_error
        self._watch: Watch[Source] = Watch(self._sources)
        self._built: dict[str, tuple[SourceRecord, Source]] = {}
        self._told: dict[str, str] = {}
        self._pauses: dict[str, float] = {}
        self._scrubber: Scrubber | None = None
        self._decided: tuple[int, int] | None = None

    def run(self) -> None:
        """Collect whenever a source has news."""
        try:
            register(self._lab, self._tell)
        except RealmError as error:
            self._tell("corpus.sources", error)
        for source in self._watch.news(self._stop):
            name = next(name for name, (_, built) in self._built.items() if built is source)
            try:
                self._collect(name, source)
            except _Ended:
                return

    def _collect(self, name: str, source: Source) -> None:
        scrubber = self._scrubber_now()
        try:
            found = collect_source(self._lab, name, scrubber, self._check_end, wait_s=0)
            closed = hand_in_closed(self._lab, [name], scrubber, self._check_end)
        except HeldError:
            self._watch.again(source, _BUSY_S)
        except RealmError as error:
            self._tell(name, error)
            pause = self._pauses[name] = min(self._pauses.get(name, _PAUSE_S / 2) * 2, _LONGEST_PAUSE_S)
            self._watch.again(source, pause)
        else:
            self._told.pop(name, None)
            self._pauses.pop(name, None)
            read = found.bytes + sum(each.bytes for each in closed)
            self._watch.rest(source, max(_REST_S, read / LIVE_BYTES_PER_S))

    def _check_end(self, progress: CollectProgress) -> None:
        if self._stop():
            raise _Ended

    def _tell(self, name: str, error: RealmError) -> None:
        """Tell of a failure once, and again only when it is another one."""
        if self._told.get(name) != error.what:
            self._told[name] = error.what
            self._on_error(name, error)

    def _sources(self) -> list[Source]:
        """Return the known sources; one whose config is the same stays the same object."""
        try:
            records = self._lab.ledger.sources.list()
        except RealmError as error:
            self._tell("ledger", error)
            records = [record for record, _ in self._built.values()]
        built: dict[str, tuple[SourceRecord, Source]] = {}
        for record in records:
            before = self._built.get(record.name)
            if before is not None and before[0] == record:
                built[record.name] = before
                continue
            try:
                built[record.name] = record, SOURCES.build(record.config)
            except RealmError as error:
                self._tell(record.name, error)
        self._built = built
        return [source for _, source in built.values()]

    def _scrubber_now(self) -> Scrubber:
        """Return the thread's scrubber, a new one where people have decided since."""
        before = self._scrubber
        decided = _state(before.config.decisions) if before is not None else None
        if before is None or decided != self._decided:
            self._scrubber = before = scrubber_of(self._lab)
            self._decided = _state(before.config.decisions)
        return before


def _state(path: Path | None) -> tuple[int, int] | None:
    try:
        found = os.stat(path) if path is not None else None
    except FileNotFoundError:
        return None
    return (found.st_mtime_ns, found.st_size) if found else None
