"""A town's events and its log of convoys: one record each, linked to session and work item.

Which files are read, and in which form, is in `townlog`. A record's fields are the event's own;
what a session's events mean together is for shapers to say.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

from realm.core.errors import DataError
from realm.core.paths import expanded
from realm.corpus.agents.townlog import Event, read_daemon_line, read_object, read_town_line
from realm.corpus.document import Document
from realm.corpus.files import folders, lines
from realm.corpus.files.objects import read_objects
from realm.corpus.intake import DEFAULT_LIMITS
from realm.corpus.rows import rowfiles
from realm.corpus.source import Item, SourceConfig
from realm.corpus.tally import Tally

_JSONL = frozenset({".events.jsonl", ".feed.jsonl", "events.jsonl", "feed.jsonl"})
_LOGS: dict[str, tuple[Callable[[str], Event | None], str]] = {
    "town.log": (read_town_line, "a line of another form"),
    "daemon.log": (read_daemon_line, "a line of the daemon's that is not about convoys"),
}
_CHANNEL = ".event"
_PLACES = ("", "logs", "daemon")
"""Folders of a town in which the files are that grow all the time."""
_SKIPPED = frozenset({".git", ".beads", ".dolt-data", "node_modules"})
_LOG_LINE_BYTES = 65_536


class Events:
    """Read events as records."""

    version = "1"

    class Config(SourceConfig):
        """Which town."""

        kind: Literal["events"] = "events"
        path: Path
        """The town's folder, a folder beneath it, or one file of events under any name."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self._root = expanded(config.path)

    def items(self, tally: Tally) -> Iterator[Item]:
        """List the files of events, hidden ones too. Raises NotFoundError where there is nothing."""
        for found in folders.walk(self._root, tally, enter=lambda name: name not in _SKIPPED):
            name = found.path.name
            if found.path != self._root and not (name in _JSONL or name in _LOGS or name.endswith(_CHANNEL)):
                continue
            if rowfiles.is_showable(found.key):
                yield found.item()
            else:
                tally.add("a name that cannot be shown, or too long", found.key)

    def read(self, item: Item, tally: Tally) -> Iterator[Document]:
        """Yield the events of one file. Raises DataError for a file that cannot be read."""
        path = folders.at(self._root, item.key)
        where = rowfiles.Provenance(self.config, "events", item.key, "program", path)
        for line, event in self._events(path, item.key, tally):
            yield _document(line, event, where)

    def folders(self) -> tuple[Path, ...]:
        """Return where to listen: files, because a town's folder holds whole repositories."""
        if self._root.is_file():
            return (self._root,)
        found = (self._root / place / name for place in _PLACES for name in sorted({*_JSONL, *_LOGS}))
        return tuple(path for path in found if path.is_file())

    def _events(self, path: Path, key: str, tally: Tally) -> Iterator[tuple[int, Event]]:
        if path.name in _LOGS:
            yield from _from_log(path, key, tally)
            return
        rows = _one_object(path, key, tally) if path.suffix == _CHANNEL else read_objects(path, tally, key)
        for line, row in rows:
            try:
                yield line, read_object(row)
            except DataError as error:
                tally.add(error.reason, f"{key}:{line}")


def _from_log(path: Path, key: str, tally: Tally) -> Iterator[tuple[int, Event]]:
    read, otherwise = _LOGS[path.name]
    with lines.open_regular(path) as file:
        number = 0
        # A longer line comes in parts, of which the first is read and the others are no events.
        while raw := file.readline(_LOG_LINE_BYTES):
            number += 1
            line = raw.decode("utf-8", "replace").rstrip("\r\n")
            event = read(line) if line.strip() else None
            if event is not None:
                yield number, event
            elif line.strip():
                tally.add(otherwise, f"{key}:{number}")


def _one_object(path: Path, key: str, tally: Tally) -> Iterator[tuple[int, dict[str, object]]]:
    """Yield the one object that a channel's file is."""
    with lines.open_regular(path) as file:
        data = file.read(_LOG_LINE_BYTES + 1)
    try:
        if len(data) > _LOG_LINE_BYTES:
            raise lines.refusal("a message of more than 64 KB")
        yield 1, lines.parse(lines.strip(data, 1), DEFAULT_LIMITS.json_depth)
    except DataError:
        tally.add("a channel's message that is not one strict JSON object within 64 KB", key)


def _document(line: int, event: Event, where: rowfiles.Provenance) -> Document:
    links = {"session": event.session, "work_item": event.work_item, "at": event.at}
    rig = {"rig": event.rig} if event.rig else {}
    return Document(
        id=f"{where.path}#{line}",
        form="record",
        fields=dict(event.fields),
        tags=where.tags({"event": str(event.fields["type"])[:200]}),
        group=event.session or event.work_item or "",
        origin=where.origin(line, line, **links, **rig),
    )
