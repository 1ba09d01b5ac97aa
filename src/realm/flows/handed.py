"""Sessions handed in one by one: by an agent's hook, and because they closed a work item."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path

from realm.core.errors import DataError, NotFoundError, RealmError, RefusedError
from realm.core.text import printable
from realm.corpus.agents.sessions import KeepsSessions, NamesSessions, default_projects, name_of
from realm.corpus.scrub import Scrubber
from realm.corpus.source import SOURCES, Item, Source, SourceConfig
from realm.corpus.tally import Tally
from realm.flows.collect import Collected, CollectProgress, Hold, Progress, add_source, collect
from realm.flows.context import Lab
from realm.flows.sources import WAIT_S, collect_source, free_name, held, register, scrubber_of
from realm.ledger.records import SourceRecord

_KIND = "claude_code"
"""What sessions are registered as where nobody has named their folder."""
_WAIT_S = 30.0
"""How long a hook waits for a collection that is under way; agents give hooks a minute."""


def _ignore(progress: CollectProgress) -> None:
    """Take word of progress and say nothing."""


def _pass_over(source: str, error: RealmError) -> None:
    """Leave a bad source to whoever collects all of them: this is about sessions."""


class Sessions:
    """A source of which only some sessions are taken."""

    def __init__(self, source: Source, wanted: Collection[str]) -> None:
        self.version = source.version
        self._source = source
        self._wanted = wanted
        self.read = source.read

    def items(self, tally: Tally) -> Iterator[Item]:
        """List the items of the sessions that are wanted."""
        if isinstance(self._source, KeepsSessions):
            yield from self._source.sessions(self._wanted, tally)


def hand_in(lab: Lab, file: Path, progress: Progress = _ignore, *, wait_s: float = _WAIT_S) -> Collected:
    """Collect the one session that a file holds; what was collected of it before is replaced.

    The file must lie beneath the folder of a known source of sessions, or where the agent's tool keeps
    them; then a source that takes only handed-in sessions is registered for it. Raises RefusedError for a
    file elsewhere, NotFoundError where no session is.
    """
    shown = printable(str(file), 300)
    real = _real(file)
    if real is None:
        raise NotFoundError(
            f"{shown}: no such session", hint="agents' tools delete their logs after some days"
        )
    keepers = _keepers(register(lab, _pass_over))
    record = next((one for one, kept in keepers if real.is_relative_to(kept.root.resolve())), None)
    if record is None and not real.is_relative_to(default_projects().resolve()):
        raise RefusedError(
            f"{shown}: beneath no folder of sessions that the lab knows",
            hint="name the folder first: realm data add FOLDER --kind claude_code",
        )
    record = record or _default(lab)
    found = _collect(lab, record, {name_of(real.name)}, scrubber_of(lab), progress, wait_s)
    if not found.items:
        raise NotFoundError(f"{shown}: no file of a session")
    return found


def hand_in_closed(
    lab: Lab, names: Collection[str], scrubber: Scrubber, progress: Progress
) -> list[Collected]:
    """Collect the sessions that closed the work items of these sources, wherever their files are known.

    Only what is new or has grown is taken. Sessions that no file is left of are passed over.
    """
    records = register(lab, _pass_over)
    wanted = _closing([record for record in records if record.name in names])
    if not wanted:
        return []
    keepers = _keepers(records)
    taken: list[tuple[SourceRecord | None, set[str]]] = []
    for record, kept in keepers:
        mine = _there(kept, wanted)
        wanted -= mine
        taken.append((record, mine))
    if wanted and not any(kept.root.resolve() == default_projects().resolve() for _, kept in keepers):
        source = SOURCES.build(_default_config(_KIND))
        assert isinstance(source, KeepsSessions)
        taken.append((None, _there(source, wanted)))
    return [
        _collect(lab, record or _default(lab), mine, scrubber, progress, WAIT_S)
        for record, mine in taken
        if mine
    ]


def _real(file: Path) -> Path | None:
    try:
        real = file.resolve()
        return real if real.is_file() else None
    except (OSError, RuntimeError):  # a name too long, a loop of symlinks
        return None


def _closing(records: list[SourceRecord]) -> set[str]:
    """Return the sessions that work items of these sources say they were closed by."""
    found: set[str] = set()
    for record in records:
        source = SOURCES.build(record.config)
        if isinstance(source, NamesSessions):
            try:
                found.update(source.closing_sessions())
            except (NotFoundError, DataError, OSError):
                continue  # collecting the source itself says so
    return found


def _there(kept: KeepsSessions, wanted: set[str]) -> set[str]:
    try:
        names = {name_of(item.key) for item in kept.sessions(wanted, Tally())}
    except (NotFoundError, DataError, OSError):  # collecting from it says so
        return set()
    return wanted & names


def _keepers(records: list[SourceRecord]) -> list[tuple[SourceRecord, KeepsSessions]]:
    built = [(record, SOURCES.build(record.config)) for record in records]
    return [(record, source) for record, source in built if isinstance(source, KeepsSessions)]


def _default_config(name: str) -> SourceConfig:
    place = str(default_projects().absolute())
    config = SOURCES.config({"kind": _KIND, "name": name, "path": place, "handed_in": True})
    assert isinstance(config, SourceConfig)
    return config


def _default(lab: Lab) -> SourceRecord:
    """Register where the agent's tool keeps sessions; of them only those handed in are taken."""
    with held(lab, _KIND):  # two hooks at once register one source
        place = str(default_projects().absolute())
        known = (one for one in lab.ledger.sources.list() if one.kind == _KIND)
        found = next((one for one in known if one.config.get("path") == place), None)
        return found or add_source(lab, _default_config(free_name(lab, _KIND)))


def _collect(
    lab: Lab,
    record: SourceRecord,
    wanted: set[str],
    scrubber: Scrubber,
    progress: Progress,
    wait_s: float,
) -> Collected:
    def take(lab: Lab, record: SourceRecord, scrubber: Scrubber, hold: Hold, progress: Progress) -> Collected:
        sessions = Sessions(SOURCES.build(record.config), wanted)
        return collect(lab, record, scrubber, hold, progress, sessions)

    return collect_source(lab, record.name, scrubber, progress, wait_s=wait_s, take=take)
