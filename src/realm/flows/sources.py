"""Name a source by its path, collect from it, and keep what a person must decide apart."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from realm.core.config import Config
from realm.core.errors import ConfigError, HeldError, RealmError, StorageError, UsageError
from realm.core.paths import expanded
from realm.core.text import printable
from realm.corpus.repos.gitclone import protocol_of
from realm.corpus.scrub import Scrubber
from realm.corpus.source import SOURCES, SourceConfig
from realm.flows.collect import Collected, Hold, Progress, add_source, collect
from realm.flows.context import Lab
from realm.flows.holding import Holding, quarantine_of
from realm.flows.recognise import kind_of
from realm.ledger.records import SourceRecord
from realm.storage.lock import HomeLock, holder

WAIT_S = 10.0
"""How long a collection waits for another one of the same source."""
_POLL_S = 0.1
_PLACES = ("path", "location")
"""Which setting of a kind says where the source is: a path, or what may also be a URL."""

Take = Callable[[Lab, SourceRecord, Scrubber, Hold, Progress], Collected]
"""Collects from a source, or from a part of it."""

OnError = Callable[[str, RealmError], None]
"""Told of a source, by name, that could not be collected."""


def source_config(
    lab: Lab, place: str, kind: str | None, name: str | None, settings: Mapping[str, Any]
) -> SourceConfig:
    """Return the config of a source at a path or git URL; without a kind, what the path shows decides.

    A place that the lab knows keeps its name and settings, with these on top. Raises UsageError where the
    kind does not show, ConfigError for settings that it does not know.
    """
    with explained(place):
        kind = kind or kind_of(place)
    fields = _fields(kind)
    where = next((field for field in _PLACES if field in fields), None)
    if where is None:
        raise UsageError(f"a source of kind {kind} has no path", hint="put it into corpus.sources")
    remote = where == "location" and protocol_of(place) is not None
    whole = place if remote else str(_absolute(Path(place), Path.cwd()))
    known = next((one for one in lab.ledger.sources.list() if _is_at(one, kind, where, whole)), None)
    data = {
        **(known.config if known else {}),
        "kind": kind,
        "name": name or (known.name if known else _free_name(lab, kind, whole)),
        where: whole,
        **settings,
    }
    return _validated(lab, data, Path.cwd())


def configured(lab: Lab) -> list[SourceConfig]:
    """Return the sources of `realm.yaml`; paths in it begin at the realm's folder."""
    found = [config for config in lab.config.corpus.sources if isinstance(config, SourceConfig)]
    return [_placed(lab, config, lab.home.root) for config in found]


def register(lab: Lab, on_error: OnError) -> list[SourceRecord]:
    """Note the sources of `realm.yaml` as they are now, and return all that the lab knows.

    One that cannot be noted is told of and left out.
    """
    refused: set[str] = set()
    seen: set[str] = set()
    for config in configured(lab):
        try:
            if config.name in seen:
                raise ConfigError(
                    f"corpus.sources: two sources are called {config.name}", hint="rename one in realm.yaml"
                )
            seen.add(config.name)
            add_source(lab, config)
        except RealmError as error:
            refused.add(config.name)
            on_error(config.name, error)
    return [record for record in lab.ledger.sources.list() if record.name not in refused]


@contextmanager
def held(lab: Lab, source: str, wait_s: float = WAIT_S) -> Iterator[None]:
    """Be the only one of all threads and processes that collects a source, or changes what it holds.

    Raises HeldError naming the process that does, after `wait_s`.
    """
    place = lab.home.private / "sources" / source
    lock, deadline = HomeLock(place), time.monotonic() + wait_s
    while True:
        try:
            lock.acquire()
            break
        except HeldError:
            if time.monotonic() >= deadline:
                raise _busy(place, source) from None
            time.sleep(_POLL_S)
    try:
        yield
    finally:
        lock.release()


def _busy(place: Path, source: str) -> HeldError:
    found = holder(place)
    who = f"process {found.pid} on {found.host}" if found else "another process"
    return HeldError(f"source {source}: {who} is collecting it", hint="try again when it is done")


def scrubber_of(lab: Lab) -> Scrubber:
    """Build the lab's scrubber; one a thread, it takes about a second.

    It follows what is decided in review.
    """
    decisions = quarantine_of(lab).decisions.path
    return Scrubber(lab.config.corpus.scrub.model_copy(update={"decisions": decisions}))


@contextmanager
def explained(source: str) -> Iterator[None]:
    """Turn what the system refuses of a source into a StorageError that names it."""
    try:
        yield
    except OSError as error:
        raise StorageError(
            f"source {source}: {printable(str(error.filename or ''), 300)}: {error.strerror}",
            hint="mend its permissions, or free some space",
        ) from error


def collect_source(
    lab: Lab,
    source: str,
    scrubber: Scrubber,
    progress: Progress,
    *,
    wait_s: float = WAIT_S,
    take: Take = collect,
) -> Collected:
    """Collect what is new in one source, by name.

    Raises HeldError while another process collects it, StorageError for what may not be read, and what
    `take` raises.
    """
    with held(lab, source, wait_s):
        record = lab.ledger.sources.get(source)
        with Holding(lab, record, scrubber) as holding, explained(source):
            collected = take(lab, record, scrubber, holding, progress)
        return holding.told(collected)


def _fields(kind: str) -> Collection[str]:
    model: type[Config] = SOURCES.load(kind).Config  # type: ignore[attr-defined]
    return model.model_fields


def _validated(lab: Lab, data: dict[str, Any], root: Path) -> SourceConfig:
    config = SOURCES.config(data)
    if not isinstance(config, SourceConfig):
        raise ConfigError(f"source {data['kind']}: its config is none of a source")
    return _placed(lab, config, root)


def _placed(lab: Lab, config: SourceConfig, root: Path) -> SourceConfig:
    """Return a config whose paths all are absolute, beginning at `root`; a URL's files go into the cache."""
    places: dict[str, Path | str] = {
        name: _absolute(value, root) for name, value in config if isinstance(value, Path)
    }
    where = getattr(config, "location", None)
    if isinstance(where, str) and protocol_of(where) is None:
        places["location"] = str(_absolute(Path(where), root))
    elif isinstance(where, str) and "cache" in type(config).model_fields:
        places.setdefault("cache", lab.home.cache / "repositories")
    return config.model_copy(update=places)


def _absolute(path: Path, root: Path) -> Path:
    """Return one path for one place, wherever the caller stands; symlinks stay, unless `..` comes behind."""
    whole = root / expanded(path)
    return whole.resolve() if ".." in whole.parts else whole


def _is_at(record: SourceRecord, kind: str, where: str, place: str) -> bool:
    return record.kind == kind and record.config.get(where) == place


def _free_name(lab: Lab, kind: str, place: str) -> str:
    """Return a name for a new source: the last part of its place, numbered where it is taken."""
    last = place.rstrip("/").rpartition("/")[2].removesuffix(".git")
    # An agent's folder for a project bears the project's whole path, home and all.
    stem = "" if last.startswith("-") else Path(last).stem
    return free_name(lab, re.sub(r"[^A-Za-z0-9._-]+", "-", stem).strip(".-")[:100] or kind)


def free_name(lab: Lab, wanted: str) -> str:
    """Return a name that no source bears: the one wanted, else with a number behind it."""
    taken = {one.name for one in lab.ledger.sources.list()} | {one.name for one in configured(lab)}
    numbered = (f"{wanted}-{number}" for number in range(2, len(taken) + 3))
    return next(name for name in (wanted, *numbered) if name not in taken)
